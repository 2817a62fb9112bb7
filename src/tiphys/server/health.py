"""Health: /healthz, /livez and /readyz, whole, check by check and with `verbose` and `exclude`; /metrics/slis.

The checks have upstream's names, which dashboards and scripts know. Those of work that is done at the start hold as
soon as anybody can ask: the port opens after it.
Source: https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from tiphys.api.errors import ServiceUnavailable
from tiphys.api.http import Request, Response
from tiphys.base import metrics
from tiphys.server.app import ApiServer

_STORE_SECONDS = 2.0
_TEXT = "text/plain; charset=utf-8"
_STARTED = (
    "start-kube-apiserver-admission-initializer", "generic-apiserver-start-informers",
    "start-apiextensions-informers", "start-apiextensions-controllers", "crd-informer-synced",
    "bootstrap-controller", "rbac/bootstrap-roles", "start-system-namespaces-controller",
    "scheduling/bootstrap-system-priority-classes", "start-cluster-authentication-info-controller",
    "start-kube-aggregator-informers", "apiservice-registration-controller",
    "apiservice-status-available-controller", "kube-apiserver-autoregistration", "apiservice-openapi-controller",
)  # fmt: skip
_CHECKS = ("ping", "log", "etcd", *(f"poststarthook/{name}" for name in _STARTED), "autoregister-completion")
_PROBES = {"healthz": _CHECKS, "livez": _CHECKS, "readyz": (*_CHECKS, "informer-sync")}

Page = Callable[[Request], Coroutine[Any, Any, Response]]


class Health:
    """`pages` are to be served; every run of a check is counted for /metrics/slis."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._last: dict[tuple[str, str], bool] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()

    @property
    def pages(self) -> dict[str, Page]:
        found: dict[str, Page] = {"/metrics/slis": self._slis}
        for probe, checks in _PROBES.items():
            # A page with a slash at its end has all that is below it.
            found |= {f"/{probe}": partial(self._whole, probe, checks), f"/{probe}/": partial(self._one, probe, checks)}
        return found

    async def _whole(self, probe: str, checks: tuple[str, ...], request: Request) -> Response:
        excluded = {name for text in request.query.get("exclude", ()) for name in text.split(",") if name}
        well = await self._run(probe, [check for check in checks if check not in excluded])
        lines = [_line(check, well.get(check)) for check in checks]
        if unknown := sorted(excluded.difference(checks)):
            names = ",".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
        if not all(well.values()):
            return Response(500, "\n".join([*lines, f"{probe} check failed", ""]).encode(), _TEXT)
        if "verbose" in request.query:
            return Response(200, "\n".join([*lines, f"{probe} check passed", ""]).encode(), _TEXT)
        return Response(200, b"ok", _TEXT)

    async def _one(self, probe: str, checks: tuple[str, ...], request: Request) -> Response:
        check = request.path.removeprefix(f"/{probe}/")
        if not check:
            return await self._whole(probe, checks, request)
        if check not in checks:
            return Response(404, b"404 page not found\n", _TEXT)
        if (await self._run(probe, [check]))[check]:
            return Response(200, b"ok", _TEXT)
        return Response(500, b"internal server error: the store does not answer\n", _TEXT)

    async def _run(self, probe: str, checks: list[str]) -> dict[str, bool]:
        away = "etcd" in checks and not await self._store_answers()
        found = {check: not (away and check == "etcd") for check in checks}
        for check, well in found.items():
            self._last[check, probe] = well
            self._counts[check, "success" if well else "error", probe] += 1
        return found

    async def _store_answers(self) -> bool:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await self._server.caught_up()
        except (ServiceUnavailable, TimeoutError):
            return False
        return True

    async def _slis(self, request: Request) -> Response:
        for probe, checks in _PROBES.items():
            await self._run(probe, list(checks))
        return Response(200, ("\n".join(self._lines()) + "\n").encode(), metrics.CONTENT_TYPE)

    def _lines(self) -> Iterator[str]:
        yield "# HELP kubernetes_healthcheck Result of a health check: 1 for well."
        yield "# TYPE kubernetes_healthcheck gauge"
        for (check, probe), well in self._last.items():
            yield f'kubernetes_healthcheck{{name="{check}",type="{probe}"}} {int(well)}'
        yield "# HELP kubernetes_healthchecks_total Health checks by result."
        yield "# TYPE kubernetes_healthchecks_total counter"
        for (check, status, probe), count in self._counts.items():
            yield f'kubernetes_healthchecks_total{{name="{check}",status="{status}",type="{probe}"}} {count}'


def _line(check: str, well: bool | None) -> str:
    """None: it was excluded."""
    if well is None:
        return f"[+]{check} excluded: ok"
    return f"[+]{check} ok" if well else f"[-]{check} failed: reason withheld"
