"""/logs/: the machine's own logs, /var/log, as files and lists of files; upstream's enableSystemLogHandler.

Whoever may `nodes/log` reads them. A link that leads out of the directory is not followed.
Source: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
"""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

_ROOT = Path("/var/log")


async def serve(request: web.Request, root: Path = _ROOT) -> web.StreamResponse:
    """The file or directory that the rest of the path names."""
    found = await asyncio.to_thread(_look, root, request.match_info["path"])
    if found is None:
        raise web.HTTPNotFound(text="404 page not found")
    if isinstance(found, Path):
        return web.FileResponse(found, headers={"Content-Type": "text/plain; charset=utf-8"})
    if not request.path.endswith("/"):
        raise web.HTTPMovedPermanently(f"{request.path.rpartition('/')[2]}/")
    lines = [f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in found]
    return web.Response(text="\n".join(["<pre>", *lines, "</pre>", ""]), content_type="text/html")


def _look(root: Path, text: str) -> Path | list[str] | None:
    """The file, or the names in the directory; None where there is neither, or only somewhere else."""
    base = root.resolve()
    try:
        path = (base / text).resolve(strict=True)
    except (OSError, ValueError):
        return None
    if not path.is_relative_to(base):
        return None
    if path.is_dir():
        return sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    return path if path.is_file() else None
