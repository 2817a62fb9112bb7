"""`create service clusterip|nodeport|loadbalancer|externalname` and `create ingress`."""

from __future__ import annotations

from typing import Any

from tiphys.cli import writes
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.create import MAKE, only_name

Json = dict[str, Any]
_TCP = "tcp list  Ports as PORT or PORT:TARGETPORT, separated by commas.\n"


def service(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("create service", COMMANDS["create service"]))
    return 0


def _made(call: Call, kind: str, **more: Any) -> int:
    name = only_name(call)
    spec: Json = {"selector": {"app": name}, "type": kind}
    ports = [_port(text) for text in call.opts["tcp"]]
    if ports:
        spec["ports"] = ports
    elif kind != "ExternalName" and more.get("clusterIP") != "None":
        raise CliError("at least one tcp port specifier must be provided")
    meta = {"labels": {"app": name}, "name": name}
    spec |= more
    status: Json = {"loadBalancer": {}}
    writes.made(call, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": status})
    return 0


def _port(text: str) -> Json:
    number, _, target = text.partition(":")
    if not number.isdigit():
        raise CliError(f"invalid port {text!r}")
    target = target or number
    return {
        "name": text.replace(":", "-"), "port": int(number), "protocol": "TCP",
        "targetPort": int(target) if target.isdigit() else target,
    }  # fmt: skip


def cluster_ip(call: Call) -> int:
    address = call.opts["clusterip"]
    return _made(call, "ClusterIP", **({"clusterIP": address} if address else {}))


def node_port(call: Call) -> int:
    return _made(call, "NodePort")


def load_balancer(call: Call) -> int:
    return _made(call, "LoadBalancer")


def external_name(call: Call) -> int:
    if not call.opts["external-name"]:
        raise CliError('required flag(s) "external-name" not set')
    return _made(call, "ExternalName", externalName=call.opts["external-name"])


def ingress(call: Call) -> int:
    """Rules are HOST/PATH=SERVICE:PORT, a path that ends in * matching what begins with it, and perhaps ,tls=SECRET."""
    opts, name = call.opts, only_name(call)
    spec: Json = {}
    if opts["class"]:
        spec["ingressClassName"] = opts["class"]
    if opts["default-backend"]:
        spec["defaultBackend"] = _backend(opts["default-backend"])
    hosts: dict[str, list[Json]] = {}
    for text in opts["rule"]:
        rule, _, tls = text.partition(",tls")
        place, equals, backend = rule.partition("=")
        host, slash, path = place.partition("/")
        if not equals or not slash:
            raise CliError(f"rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]")
        prefix = path.endswith("*")
        entry = {"path": "/" + path.rstrip("*"), "pathType": "Prefix" if prefix else "Exact"}
        hosts.setdefault(host, []).append({**entry, "backend": _backend(backend)})
        if ",tls" in text:
            secret = tls.removeprefix("=")
            spec.setdefault("tls", []).append({"hosts": [host], **({"secretName": secret} if secret else {})})
    if hosts:
        spec["rules"] = [
            {**({"host": host} if host else {}), "http": {"paths": paths}} for host, paths in hosts.items()
        ]
    if not spec:
        raise CliError("not enough information provided: every ingress has to either specify a default-backend (which "
                       "catches all traffic) or a list of rules (which catch specific paths)")  # fmt: skip
    meta: Json = {"name": name}
    if opts["annotation"]:
        meta["annotations"] = dict(text.partition("=")[::2] for text in opts["annotation"])
    status: Json = {"loadBalancer": {}}
    body = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec, "status": status}
    writes.made(call, body)
    return 0


def _backend(text: str) -> Json:
    name, _, port = text.partition(":")
    return {"service": {"name": name, "port": {"number": int(port)} if port.isdigit() else {"name": port}}}


COMMANDS = {
    "create service": Command(service, "(clusterip | nodeport | loadbalancer | externalname)"),
    "create service clusterip": Command(cluster_ip, "NAME [--tcp=<port>:<targetPort>]", MAKE + _TCP + """
        clusterip str  The address, or None for a headless Service.
        """),
    "create service nodeport": Command(node_port, "NAME [--tcp=port:targetPort]", MAKE + _TCP + """
        node-port int  Accepted, not used.
        """),
    "create service loadbalancer": Command(load_balancer, "NAME [--tcp=port:targetPort]", MAKE + _TCP),
    "create service externalname": Command(external_name, "NAME --external-name external.name", MAKE + _TCP + """
        external-name str  The name that it leads to.
        """),
    "create ingress": Command(ingress, "NAME --rule=host/path=service:port[,tls[=secret]]", MAKE + """
        rule array  A rule as HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; may repeat.
        class str  The ingress class.
        default-backend str  Where all else goes, as SERVICE:PORT.
        annotation array  An annotation as KEY=VALUE; may repeat.
        """, "kubectl create ingress web --rule=example.com/*=web:80"),
}  # fmt: skip
