"""nftables: scripts applied in one transaction each, by the `nft` program reading standard input.

All or nothing: the kernel commits a script as a whole. https://wiki.nftables.org/
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import orjson


class NftError(Exception):
    """nft refused a script; the message is nft's own, which names the line."""


async def apply(script: str) -> None:
    """Apply a script in nft's language atomically. Raises NftError."""
    await _run(["-f", "-"], script.encode())


async def list_table(family: str, name: str) -> list[dict[str, Any]]:
    """The objects of a table, as nft's JSON schema has them; empty where there is no such table."""
    tables = orjson.loads(await _run(["-j", "list", "tables"]))["nftables"]
    if not any(entry.get("table", {}).get("name") == name and entry["table"]["family"] == family for entry in tables):
        return []
    found: list[dict[str, Any]] = orjson.loads(await _run(["-j", "list", "table", family, name]))["nftables"]
    return found


async def counters(family: str, table: str) -> dict[str, int]:
    """The packets that each named counter of a table has seen. Raises NftError, also where there is no such table."""
    found = orjson.loads(await _run(["-j", "list", "counters", "table", family, table]))["nftables"]
    return {each["counter"]["name"]: each["counter"]["packets"] for each in found if "counter" in each}


async def delete_table(family: str, name: str) -> None:
    """Remove a table; nothing happens where there is none."""
    await apply(f"add table {family} {name}\ndelete table {family} {name}\n")


async def _run(arguments: list[str], text: bytes | None = None) -> bytes:
    # A program that reads nothing may have ended before anything could be written to it.
    source = asyncio.subprocess.DEVNULL if text is None else asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            "nft", *arguments,
            stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NftError("the nft program is not installed: install nftables") from error
    try:
        output, complaint = await process.communicate(text)
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise NftError(complaint.decode(errors="replace").strip())
    return output
