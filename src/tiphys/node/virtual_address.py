"""An address that moves between machines: held for a few seconds at a time, and announced to the network by ARP.

The kernel takes the address away by itself when nobody renews it, so a holder that was killed does not keep it.
Source: RFC 5227 (announcements), rtnetlink(7) (IFA_CACHEINFO).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass

from tiphys.node import iproute

_NEW_ADDRESS, _DELETE_ADDRESS = 20, 21
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_ADDRESS, _LOCAL, _CACHE_INFO = 1, 2, 6
_ERROR, _NOT_THERE = 2, 99
_ARP, _BROADCAST = 0x0806, b"\xff" * 6


@dataclass(frozen=True, slots=True)
class VirtualAddress:
    """An IPv4 address on a link of this network namespace."""

    address: str
    link: str

    def hold(self, seconds: int) -> None:
        """Have the address for so long from now on. Raises OSError."""
        times = struct.pack("=IIII", seconds, seconds, 0, 0)
        self._change(_NEW_ADDRESS, _CREATE | _REPLACE, _attribute(_CACHE_INFO, times))

    def release(self) -> None:
        """Have it no longer; nothing happens where it is not held."""
        try:
            self._change(_DELETE_ADDRESS, 0)
        except OSError as error:
            if error.errno != _NOT_THERE:
                raise

    def announce(self) -> None:
        """Tell everybody on the link that the address is here now."""
        own = socket.inet_aton(self.address)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((self.link, _ARP))
            # sysfs may show another namespace's link of the same name; the socket knows its own.
            hardware = raw.getsockname()[4]
            body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + own + bytes(6) + own
            raw.send(_BROADCAST + hardware + struct.pack("!H", _ARP) + body)

    def _change(self, kind: int, flags: int, more: bytes = b"") -> None:
        own = socket.inet_aton(self.address)
        header = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex(self.link))
        body = header + _attribute(_LOCAL, own) + _attribute(_ADDRESS, own) + more
        message = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(1.0)
            netlink.sendto(message, (0, 0))
            answer = netlink.recv(4096)
        (answered,) = struct.unpack_from("=H", answer, 4)
        (code,) = struct.unpack_from("=i", answer, 16)
        if answered == _ERROR and code:
            raise OSError(-code, os.strerror(-code), f"{self.address} on {self.link}")


async def link_of(address: str) -> str:
    """The link whose network the address lies in. Raises OSError where no link has it."""
    wanted = ipaddress.ip_address(address)
    for link in await iproute.show(["-4", "addr", "show"]):
        for held in link["addr_info"]:
            if (
                held["prefixlen"] < 32
                and wanted in ipaddress.ip_interface(f"{held['local']}/{held['prefixlen']}").network
            ):
                return str(link["ifname"])
    raise OSError(_NOT_THERE, f"no link of this machine is in the network of {address}")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value
