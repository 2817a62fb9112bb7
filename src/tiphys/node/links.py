"""Network links, addresses and routes by netlink. Calls block for a moment, so they run on a thread.

Every call states what should be, and may be repeated.
"""

from __future__ import annotations

import asyncio
import errno
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    kind: str
    up: bool
    mac: str
    mtu: int


def _threaded(work: Callable[Concatenate[Any, P], T]) -> Callable[P, Awaitable[T]]:
    """Run `work(ip, ...)` on a thread with a netlink socket of its own."""

    @functools.wraps(work)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        def run() -> T:
            # Importing pyroute2 takes 0.1 s and 10 MiB: processes that touch no link never pay.
            from pyroute2 import IPRoute
            from pyroute2.netlink.exceptions import NetlinkError

            try:
                with IPRoute() as ip:
                    return work(ip, *args, **kwargs)
            except NetlinkError as error:
                raise OSError(error.code, f"netlink: {error.args[-1]}", str(args[0]) if args else None) from error

        return await asyncio.to_thread(run)

    return wrapper


def _index(ip: Any, name: str) -> int | None:
    found = ip.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _ensure(ip: Any, name: str, **facts: Any) -> int:
    index = _index(ip, name)
    if index is None:
        ip.link("add", ifname=name, **facts)
        index = _index(ip, name)
    if index is None:
        raise OSError(errno.ENODEV, "the link vanished while it was made", name)
    return index


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else "") or ""
    return Link(
        message["index"], message.get_attr("IFLA_IFNAME"), kind, bool(message["flags"] & 1),
        message.get_attr("IFLA_ADDRESS") or "", message.get_attr("IFLA_MTU") or 0,
    )  # fmt: skip


@_threaded
def links(ip: Any) -> list[Link]:
    """Every link of this network namespace."""
    return [_link(message) for message in ip.get_links()]


@_threaded
def bridge(ip: Any, name: str, mtu: int = 0) -> int:
    """A bridge that is up; its index."""
    index = _ensure(ip, name, kind="bridge")
    ip.link("set", index=index, state="up", **({"mtu": mtu} if mtu else {}))
    return index


@_threaded
def veth(ip: Any, name: str, peer: str, namespace: str) -> int:
    """A veth pair: `name` here and up, `peer` in the named namespace; the index of ours."""
    if (found := _index(ip, name)) is not None:
        return found
    index = _ensure(ip, name, kind="veth", peer={"ifname": peer, "net_ns_fd": namespace})
    ip.link("set", index=index, state="up")
    return index


@_threaded
def enslave(ip: Any, name: str, master: str) -> None:
    """Plug a link into a bridge."""
    ip.link("set", index=_index(ip, name), master=_index(ip, master))


@_threaded
def address(ip: Any, name: str, cidr: str) -> None:
    """Give a link an address, such as 10.0.0.1/24."""
    host, _, prefix = cidr.partition("/")
    ip.addr("replace", index=_index(ip, name), address=host, prefixlen=int(prefix))


@_threaded
def route(ip: Any, destination: str, gateway: str) -> None:
    """Send a range, or `default`, through a gateway."""
    ip.route("replace", dst=destination, gateway=gateway)


@_threaded
def delete_route(ip: Any, destination: str) -> None:
    try:
        ip.route("del", dst=destination)
    except Exception as error:
        if getattr(error, "code", None) != errno.ESRCH:
            raise


@_threaded
def delete(ip: Any, name: str) -> None:
    """Remove a link; nothing happens where it is gone."""
    index = _index(ip, name)
    if index is not None:
        ip.link("del", index=index)


@_threaded
def default_address(ip: Any, family: int = 2) -> str:
    """The address this machine uses towards its default route, or its first global one; "" where it has none."""
    target = "192.0.2.1" if family == 2 else "2001:db8::1"
    try:
        for message in ip.route("get", dst=target, family=family):
            source = message.get_attr("RTA_PREFSRC")
            if source:
                return str(source)
    except Exception as error:
        if getattr(error, "code", None) not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            raise
    for message in ip.get_addr(family=family, scope=0):
        return str(message.get_attr("IFA_ADDRESS"))
    return ""
