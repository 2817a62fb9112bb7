"""`scale` and `autoscale`: the size of a workload, set once or left to an autoscaler.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_scale/
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = (
    FILES
    + OUTPUT
    + DRY_RUN
    + """
selector,l str  Label query.
all bool  All objects of the types.
replicas int=-1  The new size.
current-replicas int=-1  Only if this is the size now.
resource-version str  Only if this is the version now.
timeout time  Wait so long for the size to be reached; 0 does not wait.
"""
)
AUTO_FLAGS = (
    FILES
    + OUTPUT
    + DRY_RUN
    + MANAGER
    + """
min int=-1  The smallest size.
max int=-1  The largest size.
cpu str  Target of CPU use, in percent of what is requested.
cpu-percent int=-1  The same, as it was once said.
memory str  Target of memory use, in percent of what is requested.
name str  Name of the autoscaler.
"""
)


def scale(call: Call) -> int:
    opts = call.opts
    if opts["replicas"] < 0:
        raise CliError("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    found = list(builder.infos(call, builder.targets(call, single=True)))
    if not found:
        raise CliError("no objects passed to scale")
    for info in found:
        obj = info.obj
        _check(call, info)
        if call.dry_run != "client":
            _set(call, info)
        writes.show(call, obj, "scaled")
        if opts["timeout"] and call.dry_run == "none":
            _wait(call, info)
    return 0


def _check(call: Call, info: Info) -> None:
    """The preconditions of the flags. Raises CliError."""
    opts, obj = call.opts, info.obj
    size = (obj.get("spec") or {}).get("replicas", 1)
    if opts["current-replicas"] >= 0 and size != opts["current-replicas"]:
        raise CliError(f"Expected replicas to be {opts['current-replicas']}, was {size}")
    version = obj["metadata"].get("resourceVersion", "")
    if opts["resource-version"] and version != opts["resource-version"]:
        raise CliError(f"Expected resource version to be {opts['resource-version']}, was {version}")


def _set(call: Call, info: Info) -> None:
    body: Json = {"spec": {"replicas": call.opts["replicas"]}}
    if call.opts["resource-version"]:
        body["metadata"] = {"resourceVersion": call.opts["resource-version"]}
    writes.patch(call, info, body, subresource="scale", manager="kubectl")


def _wait(call: Call, info: Info) -> None:
    deadline = time.monotonic() + call.opts["timeout"]
    wanted = call.opts["replicas"]
    seconds = max(1, int(call.opts["timeout"]))
    query: Json = {"fieldSelector": f"metadata.name={info.name}", "watch": True, "timeoutSeconds": seconds}
    for line in call.transport.lines(info.resource.path(info.namespace), query=query):
        obj = orjson.loads(line)["object"]
        status = obj.get("status") or {}
        observed = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
        if observed and status.get("replicas", 0) == wanted:
            return
        if time.monotonic() > deadline:
            break
    raise CliError("timed out waiting for the condition")


def autoscale(call: Call) -> int:
    opts = call.opts
    if opts["max"] < 1:
        raise CliError("--max=MAXPODS is required and must be at least 1, max: -1")
    if opts["min"] > opts["max"]:
        shown = f"max: {opts['max']}, min: {opts['min']}"
        raise CliError(f"--max=MAXPODS must be larger or equal to --min=MINPODS, {shown}")
    for info in builder.infos(call, builder.targets(call)):
        resource = call.discovery.of_kind("autoscaling/v2", "HorizontalPodAutoscaler")
        obj = _autoscaler(call, info)
        if call.dry_run != "client":
            target = builder.Target(resource, info.namespace, obj["metadata"]["name"], obj)
            obj = writes.create(call, target, manager="kubectl-autoscale")
        writes.show(call, obj, "autoscaled")
    return 0


def _autoscaler(call: Call, info: Info) -> Json:
    opts = call.opts
    cpu = opts["cpu"].rstrip("%") or (str(opts["cpu-percent"]) if opts["cpu-percent"] > 0 else "")
    targets = {"cpu": cpu or ("" if opts["memory"] else "80"), "memory": opts["memory"].rstrip("%")}
    metrics = []
    for name, text in targets.items():
        if text:
            target = {"type": "Utilization", "averageUtilization": int(text)}
            metrics.append({"type": "Resource", "resource": {"name": name, "target": target}})
    reference = {"apiVersion": info.resource.api_version, "kind": info.resource.kind, "name": info.name}
    spec: Json = {"scaleTargetRef": reference, "maxReplicas": opts["max"], "metrics": metrics}
    if opts["min"] > 0:
        spec["minReplicas"] = opts["min"]
    meta = {"name": opts["name"] or info.name}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec}


COMMANDS = {
    "scale": Command(scale, "--replicas=COUNT (-f FILENAME | TYPE NAME)", FLAGS, """
        kubectl scale deploy/web --replicas=3
    """),
    "autoscale": Command(autoscale, "(-f FILENAME | TYPE NAME) --max=MAXPODS", AUTO_FLAGS, """
        kubectl autoscale deploy/web --min=2 --max=10 --cpu=80%
    """),
}  # fmt: skip
