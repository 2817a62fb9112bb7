"""`top node|pod`: what is used now, from metrics.k8s.io.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_top/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from tiphys.api.quantity import Quantity, parse
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.tabs import align

Json = dict[str, Any]
_METRICS = "/apis/metrics.k8s.io/v1beta1"
_MIB = 1024 * 1024
_SHARED = """
no-headers bool  Print no line of headers.
selector,l str  Label query.
sort-by str  cpu or memory.
show-swap bool  Accepted; nothing is swapped.
use-protocol-buffers bool=true  Accepted, not used.
"""
POD_FLAGS = (
    _SHARED
    + """
all-namespaces,A bool  In every namespace.
containers bool  One line for each container.
field-selector str  Field query.
sum bool  A line with the sum.
"""
)
NODE_FLAGS = _SHARED + "show-capacity bool  Of the capacity instead of what pods may have.\n"


def group(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("top", COMMANDS["top"]))
    return 0


def _fetch(call: Call, path: str) -> list[Json]:
    try:
        found = orjson.loads(call.transport.call("GET", path, query={"labelSelector": call.opts["selector"]}))
    except ServerError as error:
        if error.code == 404 and not call.args:
            raise CliError("Metrics API not available") from None
        raise
    items: list[Json] = found.get("items", [found])
    return items


def _amounts(usages: Iterable[Json]) -> tuple[Quantity, Quantity]:
    cpu, memory = parse("0"), parse("0")
    for usage in usages:
        cpu, memory = cpu + parse(usage["cpu"]), memory + parse(usage["memory"])
    return cpu, memory


def pods(call: Call) -> int:
    path = f"{_METRICS}/pods" if call.opts["all-namespaces"] else f"{_METRICS}/namespaces/{call.namespace}/pods"
    found = _fetch(call, f"{path}/{call.args[0]}" if call.args else path)
    rows = []
    for item in found:
        meta = item["metadata"]
        head = [meta["namespace"]] if call.opts["all-namespaces"] else []
        parts = [[container] for container in item["containers"]] if call.opts["containers"] else [item["containers"]]
        for containers in parts:
            cpu, memory = _amounts(container["usage"] for container in containers)
            names = [meta["name"], containers[0]["name"]] if call.opts["containers"] else [meta["name"]]
            rows.append((cpu, memory, [*head, *names, f"{cpu.milli()}m", f"{memory.value() // _MIB}Mi"]))
    if not rows:
        where = "" if call.opts["all-namespaces"] else f" in {call.namespace} namespace"
        call.warn(f"No resources found{where}.")
        return 0
    header = ["NAMESPACE"] if call.opts["all-namespaces"] else []
    header += ["POD", "NAME"] if call.opts["containers"] else ["NAME"]
    _print(call, [*header, "CPU(cores)", "MEMORY(bytes)"], rows)
    return 0


def nodes(call: Call) -> int:
    found = _fetch(call, f"{_METRICS}/nodes/{call.args[0]}" if call.args else f"{_METRICS}/nodes")
    listed = orjson.loads(call.transport.call("GET", "/api/v1/nodes"))["items"]
    field = "capacity" if call.opts["show-capacity"] else "allocatable"
    sizes = {node["metadata"]["name"]: node["status"].get(field) or {} for node in listed}
    rows = []
    for item in found:
        name = item["metadata"]["name"]
        cpu, memory = _amounts([item["usage"]])
        size = sizes.get(name, {})
        shares = [_share(cpu, size.get("cpu")), _share(memory, size.get("memory"))]
        rows.append((cpu, memory, [name, f"{cpu.milli()}m", shares[0], f"{memory.value() // _MIB}Mi", shares[1]]))
    _print(call, ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"], rows)
    return 0


def _share(used: Quantity, size: str | None) -> str:
    return f"{used.nanos * 100 // parse(size).nanos}%" if size and parse(size).nanos else "<unknown>"


def _print(call: Call, header: list[str], rows: list[tuple[Quantity, Quantity, list[str]]]) -> None:
    order = call.opts["sort-by"]
    if order not in ("", "cpu", "memory"):
        raise CliError("--sort-by accepts only cpu or memory")
    if order:
        rows.sort(key=lambda row: (row[0] if order == "cpu" else row[1]).nanos, reverse=True)
    else:
        rows.sort(key=lambda row: row[2])
    lines = [] if call.opts["no-headers"] else ["\t".join([*header, ""])]
    lines += ["\t".join([*cells, ""]) for _, _, cells in rows]
    call.out.write(align("\n".join(lines) + "\n", minimum=6, padding=3))


COMMANDS = {
    "top": Command(group, "SUBCOMMAND"),
    "top pod": Command(pods, "[NAME | -l label]", POD_FLAGS, "kubectl top pod -A"),
    "top node": Command(nodes, "[NAME | -l label]", NODE_FLAGS, "kubectl top node"),
}
