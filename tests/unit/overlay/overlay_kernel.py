"""What the kernel does with the overlay's commands: a device with its entries, which refuses what the kernel would."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tiphys.kinds.core.node import Node
from tiphys.overlay.plan import State


class Refused(OSError):
    """The kernel's answer to a command that cannot be."""


class Kernel:
    """Entries of one device, changed by lines as iproute2's `ip` and `bridge` read them."""

    def __init__(self, state: State | None = None) -> None:
        held = state or State()
        self.routes, self.neighbours, self.forwards = dict(held.routes), dict(held.neighbours), dict(held.forwards)

    @property
    def state(self) -> State:
        return State(self.routes, self.neighbours, self.forwards)

    def run(self, lines: Sequence[str]) -> None:
        for line in lines:
            kind, verb, key, *rest = line.split()
            words = dict(zip(rest[::2], rest[1::2], strict=False))
            table, word = {"route": (self.routes, "via"), "neigh": (self.neighbours, "lladdr"),
                           "fdb": (self.forwards, "dst")}[kind]  # fmt: skip
            if verb == "replace":
                table[key] = words[word]
                continue
            if key not in table or (kind == "fdb" and table[key] != words["dst"]):
                raise Refused(line)
            del table[key]

    def reaches(self, cidr: str) -> str:
        """Where packets to a range of pods are sent, entry by entry; KeyError where the way is not complete."""
        return self.forwards[self.neighbours[self.routes[cidr]]]


def node(name: str, cidr: str = "", address: str = "", *more: str) -> Node:
    spec = {"podCIDR": cidr, "podCIDRs": [cidr, *more]} if cidr else {}
    status = {"addresses": [{"type": "InternalIP", "address": address}]} if address else {}
    return msgspec.convert({"metadata": {"name": name}, "spec": spec, "status": status}, Node)
