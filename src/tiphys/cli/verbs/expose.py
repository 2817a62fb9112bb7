"""`expose`: a Service for a pod, a workload or another Service.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_expose/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = (
    FILES
    + DRY_RUN
    + OUTPUT
    + MANAGER
    + """
name str  Name of the Service; the object's own where none is given.
port str  Port of the Service; the containers' where none is given.
target-port str  Port of the pods, a number or a name.
protocol str  TCP, UDP or SCTP.
type str  ClusterIP, NodePort, LoadBalancer or ExternalName.
selector str  Labels of the pods as KEY=VALUE, separated by commas.
labels,l str  Labels of the Service.
external-ip str  Another address to accept.
load-balancer-ip str  Address that the load balancer should have.
cluster-ip str  Cluster address; None for a headless Service.
session-affinity str  None or ClientIP.
overrides str  JSON to merge into the Service.
override-type str=merge  Only merge is built in.
save-config bool  Keep the configuration in the annotation that apply reads.
"""
)

_NO_SELECTOR = "couldn't retrieve selectors via --selector flag or introspection"


def run(call: Call) -> int:
    for info in builder.infos(call, builder.targets(call, single=True)):
        service = _service(call, info)
        obj = service
        if call.dry_run != "client":
            resource = call.discovery.of_kind("v1", "Service")
            target = builder.Target(resource, info.namespace, service["metadata"]["name"], service)
            obj = writes.create(call, target, manager="kubectl-expose")
        writes.show(call, obj, "exposed")
    return 0


def _service(call: Call, info: Info) -> Json:
    opts = call.opts
    meta: Json = {"name": opts["name"] or info.name}
    labels = _pairs(opts["labels"]) if opts["labels"] else info.obj["metadata"].get("labels")
    if labels:
        meta["labels"] = labels
    spec: Json = {"ports": _ports(call, info), "selector": _selector(call, info)}
    for flag, field in (("type", "type"), ("cluster-ip", "clusterIP"), ("load-balancer-ip", "loadBalancerIP"),
                        ("session-affinity", "sessionAffinity")):  # fmt: skip
        if opts[flag]:
            spec[field] = opts[flag]
    if opts["external-ip"]:
        spec["externalIPs"] = opts["external-ip"].split(",")
    service: Json = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    service["status"] = {"loadBalancer": {}}
    if opts["overrides"]:
        from tiphys.api.patch import merge_patch

        service = merge_patch(service, orjson.loads(opts["overrides"]))
    return service


def _pairs(text: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in text.split(",") if word)


def _selector(call: Call, info: Info) -> dict[str, str]:
    if call.opts["selector"]:
        return _pairs(call.opts["selector"])
    if info.resource.plural == "pods":
        labels: dict[str, str] = info.obj["metadata"].get("labels") or {}
        if not labels:
            raise CliError(f"{_NO_SELECTOR}: the pod has no labels and cannot be exposed")
        return labels
    selector = (info.obj.get("spec") or {}).get("selector") or {}
    if selector.get("matchExpressions"):
        shown = selector["matchExpressions"]
        raise CliError(f'{_NO_SELECTOR}: couldn\'t convert expressions - "{shown}" to map-based selector format')
    found: dict[str, str] = selector.get("matchLabels", selector)
    if not found:
        raise CliError(f"cannot expose a {info.resource.kind}")
    return found


def _ports(call: Call, info: Info) -> list[Json]:
    opts = call.opts
    known = _known(info)
    wanted = [(int(text), opts["protocol"] or "TCP") for text in opts["port"].split(",") if text] or known
    if not wanted:
        raise CliError("couldn't find port via --port flag or introspection")
    ports: list[Json] = []
    for index, (number, protocol) in enumerate(wanted):
        target: Any = opts["target-port"] or number
        port: Json = {"port": number, "protocol": opts["protocol"] or protocol}
        port["targetPort"] = int(target) if str(target).isdigit() else target
        if len(wanted) > 1:
            port["name"] = f"port-{index + 1}"
        ports.append(port)
    return ports


def _known(info: Info) -> list[tuple[int, str]]:
    """The ports that the object itself names."""
    spec = info.obj.get("spec") or {}
    if info.resource.plural == "services":
        return [(port["port"], port.get("protocol", "TCP")) for port in spec.get("ports") or ()]
    pod = spec if info.resource.plural == "pods" else (spec.get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or ()
    return [(p["containerPort"], p.get("protocol", "TCP")) for c in containers for p in c.get("ports") or ()]


COMMANDS = {
    "expose": Command(run, "(-f FILENAME | TYPE NAME) [--port=port]", FLAGS, """
        kubectl expose deployment web --port=80 --target-port=8080
        kubectl expose pod web-0 --type=NodePort
    """),
}  # fmt: skip
