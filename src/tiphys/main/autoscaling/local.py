"""The provider of nodes inside this machine: namespaces as machines, as `tiphys up --nodes` makes them.

`tiphys up --max-nodes N` switches it on. Each change is a command of its own, under the same lock as the user's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tiphys.main.autoscaling.provider import NodeGroup, ProviderError
from tiphys.main.cluster import Cluster, ClusterError, Settings
from tiphys.main.node_settings import nodes_of

NAME = "local"
_SECONDS = 90.0


class LocalNodes:
    """Implements `NodeProvider`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def groups(self) -> Sequence[NodeGroup]:
        settings = self._settings()
        if not settings.max_nodes:
            return ()
        nodes = nodes_of(self._cluster, settings)
        members = tuple(node.name for node in nodes[1:] if not node.control_plane)
        return (NodeGroup(NAME, settings.min_nodes, settings.max_nodes, len(nodes), members),)

    async def grow(self, group: str, count: int) -> None:
        wanted = min(len(self._settings().numbers) + count, self._settings().max_nodes)
        await self._command("up", self._cluster.name, "--nodes", str(wanted), "--keep-min-nodes")

    async def remove(self, group: str, node: str) -> None:
        await self._command("node", "remove", node, self._cluster.name)

    def _settings(self) -> Settings:
        try:
            return self._cluster.settings()
        except (ClusterError, OSError) as error:
            raise ProviderError(str(error)) from error

    async def _command(self, *words: str) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tiphys.main.entry", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_SECONDS):
                said, _ = await child.communicate()
        except TimeoutError as error:
            raise ProviderError(f"`tiphys {' '.join(words)}` did not end in {_SECONDS:.0f} s") from error
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise ProviderError(f"`tiphys {' '.join(words)}`: {last[0]}")
