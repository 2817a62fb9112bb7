"""Links, addresses, routes, neighbours and forwarding entries by iproute2's batch mode: for changes that are few.

`links` does the same over netlink and costs the process ten megabytes for as long as it lives; who changes links all
the time uses that, who does it once or when a node comes uses this.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Sequence
from typing import Any, Literal

import orjson

Program = Literal["ip", "bridge"]


def hardware_address(name: str) -> str:
    """An address of its own for a bridge; without one it has the least of its ports', another whenever they change,
    and whoever found it at the last cannot reach it. Locally administered, unicast."""
    digest = bytearray(hashlib.sha256(name.encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | 0x02
    return digest.hex(":")


async def batch(lines: Sequence[str], *, program: Program = "ip", namespace: str = "") -> None:
    """Run commands in order, such as "addr replace 10.0.0.1/24 dev br0", here or in a named network namespace.

    Nothing is started for no lines. Raises OSError with the program's message.
    """
    if lines:
        await _run(program, [*_inside(namespace), "-batch", "-"], "".join(f"{line}\n" for line in lines).encode())


async def show(words: Sequence[str], *, program: Program = "ip", namespace: str = "") -> list[dict[str, Any]]:
    """What a command such as ["route", "show"] lists, as iproute2's JSON has it. Raises OSError."""
    output = await _run(program, [*_inside(namespace), "-json", *words])
    found: list[dict[str, Any]] = orjson.loads(output) if output.strip() else []
    return found


def exists(link: str) -> bool:
    """Whether our network namespace has a link; sysfs may show another namespace's."""
    try:
        socket.if_nametoindex(link)
    except OSError:
        return False
    return True


def _inside(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []


async def _run(program: str, arguments: list[str], text: bytes | None = None) -> bytes:
    # A program that reads no input may have closed it before it could be written.
    source = asyncio.subprocess.DEVNULL if text is None else asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, *arguments,
        stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, complaint = await process.communicate(text)
    if process.returncode:
        raise OSError(process.returncode, f"{program}: {complaint.decode(errors='replace').strip()}")
    return output
