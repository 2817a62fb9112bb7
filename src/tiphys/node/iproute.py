"""Links, addresses and routes by iproute2's batch mode: for the few changes of a node's start.

`links` does the same over netlink and costs the process ten megabytes for as long as it lives; who changes links all
the time uses that, who does it once uses this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


async def batch(lines: Sequence[str]) -> None:
    """Run `ip` commands in order, such as "addr replace 10.0.0.1/24 dev br0". Raises OSError with ip's message."""
    process = await asyncio.create_subprocess_exec(
        "ip",
        "-batch",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate("".join(f"{line}\n" for line in lines).encode())
    if process.returncode:
        raise OSError(process.returncode, f"ip: {complaint.decode(errors='replace').strip()}")
