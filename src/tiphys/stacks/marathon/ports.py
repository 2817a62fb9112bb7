"""Ports of an app: portMappings, portDefinitions, ports, servicePort, VIPs.

On a network of its own (bridge, container) a task listens on its containerPort. With `host` each task has an address of
its own here, and listens on $PORT0 of that. Source: https://mesosphere.github.io/marathon/docs/ports.html
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.stacks.objects import dns_name
from tiphys.stacks.problems import Problems

Json = dict[str, Any]
# Where tasks listen that leave the port to us, as Mesos' agents offer them.
_FIRST_FREE = 31000


class Port(NamedTuple):
    """`host` is the node's port or 0, `service` the one open on every node or 0, `vips` are (name, port)."""

    target: int
    host: int
    service: int
    protocols: tuple[str, ...]
    name: str
    vips: tuple[tuple[str, int], ...]


def ports_of(path: str, spec: Json, problems: Problems) -> list[Port]:
    container = spec.get("container") or {}
    docker = container.get("docker") or {}
    if is_host(spec):
        return _definitions(path, spec, problems)
    mappings = container.get("portMappings") or docker.get("portMappings") or []
    found = []
    for at, one in enumerate(mappings):
        where = f"{path}container.portMappings[{at}]"
        host = int(one.get("hostPort") or 0)
        target = int(one.get("containerPort") or 0) or host or _FIRST_FREE + at
        found.append(_port(where, one, (target, host, int(one.get("servicePort") or 0)), problems))
    return found


def is_host(spec: Json) -> bool:
    docker = (spec.get("container") or {}).get("docker") or {}
    modes = {str(one.get("mode") or "container") for one in spec.get("networks") or ()}
    if modes:
        return modes == {"host"}
    if docker.get("network"):
        return str(docker["network"]).upper() == "HOST"
    return not spec.get("ipAddress")


def _definitions(path: str, spec: Json, problems: Problems) -> list[Port]:
    given = spec.get("portDefinitions")
    if given is None:
        given = [{"port": number} for number in spec.get("ports") or ()]
    fixed = bool(spec.get("requirePorts"))
    found = []
    for at, one in enumerate(given):
        where, number = f"{path}portDefinitions[{at}]", int(one.get("port") or 0)
        target = number if fixed and number else _FIRST_FREE + at
        found.append(_port(where, one, (target, number if fixed else 0, 0 if fixed else number), problems))
    return found


def _port(path: str, one: Json, numbers: tuple[int, int, int], problems: Problems) -> Port:
    protocols = tuple(word.strip().upper() for word in str(one.get("protocol") or "tcp").split(","))
    for protocol in protocols:
        if protocol not in ("TCP", "UDP"):
            problems.refuse(f"{path}.protocol", f"{protocol!r} is no protocol", "tcp, udp or udp,tcp")
    vips = []
    for key, value in (one.get("labels") or {}).items():
        if not key.startswith("VIP_"):
            continue
        name, _, number = str(value).rpartition(":")
        if not number.isdigit() or name.replace(".", "").isdigit():
            problems.refuse(
                f"{path}.labels.{key}", f"{value!r} is no name", "/NAME:PORT, which is then NAME:PORT for every app"
            )
            continue
        vips.append((dns_name(name.strip("/")), int(number)))
    return Port(*numbers, protocols, str(one.get("name") or ""), tuple(vips))
