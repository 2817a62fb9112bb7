"""Ports of a service: `ports` (short and long), `expose`.

Source: https://docs.docker.com/reference/compose-file/services/#ports
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.stacks.objects import Facts
from tiphys.stacks.problems import Problems

Json = dict[str, Any]


def ports_of(path: str, service: Json, facts: Facts, problems: Problems) -> list[Json]:
    """Each as {"published": 0 for any, "target", "protocol": "TCP", "mode": "ingress" or "host", "path"}."""
    found: list[Json] = []
    for at, one in enumerate(service.get("ports") or ()):
        where = f"{path}.ports[{at}]"
        try:
            found += _long(where, one, problems) if isinstance(one, dict) else _short(where, str(one), problems)
        except ValueError:
            problems.refuse(where, f"{one!r} is no port", "[PUBLISHED:]TARGET[/PROTOCOL] with numbers from 1 to 65535")
    for port in found:
        if port["published"] in facts.reserved:
            problems.refuse(port["path"], f"port {port['published']} is the node's own", "another published port")
        if port["protocol"] not in ("TCP", "UDP", "SCTP"):
            problems.refuse(port["path"], f"{port['protocol']!r} is no protocol", "tcp, udp or sctp")
    return found


def exposed(service: Json) -> list[tuple[int, str]]:
    found = []
    for one in service.get("expose") or ():
        number, _, protocol = str(one).partition("/")
        found += [(port, (protocol or "tcp").upper()) for port in _range(number)]
    return found


def _long(path: str, one: Json, problems: Problems) -> Iterator[Json]:
    mode = str(one.get("mode") or "ingress")
    if mode not in ("ingress", "host"):
        problems.refuse(f"{path}.mode", f"{mode!r} is no mode", "ingress or host")
    if one.get("host_ip"):
        problems.warn(f"{path}.host_ip", "ignored, as Swarm does: the port is open on every address of the nodes")
    targets = _range(str(one.get("target")))
    published = _range(str(one["published"])) if one.get("published") else [0] * len(targets)
    yield from _pairs(path, published, targets, (str(one.get("protocol") or "tcp"), mode))


def _short(path: str, text: str, problems: Problems) -> Iterator[Json]:
    text, _, protocol = text.partition("/")
    before, _, target = text.rpartition(":")
    address, _, published = before.rpartition(":")
    if address:
        problems.warn(path, "the address is ignored, as Swarm does: the port is open on every address of the nodes")
    targets = _range(target)
    yield from _pairs(
        path, _range(published) if published else [0] * len(targets), targets, (protocol or "tcp", "ingress")
    )


def _pairs(path: str, published: list[int], targets: list[int], how: tuple[str, str]) -> Iterator[Json]:
    if len(targets) == 1 and len(published) > 1:
        published = published[:1]
    if len(published) != len(targets):
        raise ValueError
    for outside, inside in zip(published, targets, strict=True):
        yield {"published": outside, "target": inside, "protocol": how[0].upper(), "mode": how[1], "path": path}


def _range(text: str) -> list[int]:
    low, _, high = text.partition("-")
    found = list(range(int(low), int(high or low) + 1))
    if not found or found[0] < 1 or found[-1] > 65535:
        raise ValueError(text)
    return found
