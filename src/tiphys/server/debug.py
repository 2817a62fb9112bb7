"""`/debug/pprof/` for administrators: what the process is doing, without stopping it.

`profile?seconds=N` samples the stacks of all threads a hundred times a second and answers folded stacks, one line each
with its count, which flame graph programs read; `goroutine` shows every task and thread as it stands.
Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/ (nonResourceURLs), upstream's /debug/pprof
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
import traceback
from collections import Counter
from types import FrameType

from tiphys.api.errors import BadRequest, NotFound
from tiphys.api.http import Request, Response

_TEXT = "text/plain; charset=utf-8"
_MAX_SECONDS = 60.0
_INTERVAL = 0.01
_INDEX = (
    b"/debug/pprof/\n\nprofile?seconds=N  folded stacks of N seconds, by default 10\ngoroutine  all tasks and threads\n"
)


async def page(request: Request) -> Response:
    name = request.path.removeprefix("/debug/pprof").strip("/")
    if name == "profile":
        return Response(200, await _profile(_seconds(request)), _TEXT)
    if name == "goroutine":
        return Response(200, _tasks(), _TEXT)
    if name:
        raise NotFound(f"there is no profile {name}")
    return Response(200, _INDEX, _TEXT)


def _seconds(request: Request) -> float:
    text = request.param("seconds") or "10"
    if not text.isdecimal() or not 0 < int(text) <= _MAX_SECONDS:
        raise BadRequest(f'seconds: Invalid value: "{text}": must be a number between 1 and {_MAX_SECONDS:.0f}')
    return float(text)


async def _profile(seconds: float) -> bytes:
    found = await asyncio.to_thread(_sample, seconds)
    return "".join(f"{stack} {count}\n" for stack, count in found.most_common()).encode()


def _sample(seconds: float) -> Counter[str]:
    stacks: Counter[str] = Counter()
    me, ends = threading.get_ident(), time.monotonic() + seconds
    while time.monotonic() < ends:
        for thread, frame in sys._current_frames().items():
            if thread != me:
                stacks[_folded(frame)] += 1
        time.sleep(_INTERVAL)
    return stacks


def _folded(frame: FrameType | None) -> str:
    parts = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "?")
        parts.append(f"{module}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return ";".join(reversed(parts))


def _tasks() -> bytes:
    out = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(file=out)
        out.write("\n")
    for thread, frame in sys._current_frames().items():
        out.write(f"thread {thread}\n{''.join(traceback.format_stack(frame))}\n")
    return out.getvalue().encode()
