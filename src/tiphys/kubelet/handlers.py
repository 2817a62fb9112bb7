"""Carrying out one probe or one lifecycle hook: exec, HTTP, TCP, gRPC, sleep.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiphys.base.clock import Clock
from tiphys.kinds.core.container import (
    Container,
    ExecAction,
    GrpcAction,
    HttpGetAction,
    IntOrString,
    LifecycleHandler,
    Probe,
    TcpSocketAction,
)
from tiphys.kubelet.runtime import Runtime, RuntimeFault

if TYPE_CHECKING:
    from aiohttp import ClientSession

_MAX_BODY = 10 * 1024
_AGENT = "kube-probe/1.36"


class HookFailed(Exception):
    """A lifecycle hook did not succeed; the message is its output."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ok` is None when the probe could not be carried out, which says nothing of the container."""

    ok: bool | None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The container to talk to; `ip` is the pod's (or the node's, on the host's network)."""

    container: Container
    container_id: str
    ip: str

    def port(self, said: IntOrString) -> int:
        """A port by number or by name. Raises ValueError."""
        if isinstance(said, int):
            return said
        named = {port.name: port.container_port for port in self.container.ports}
        return named[said] if said in named else int(said)


class Handlers:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime, self._clock = runtime, clock
        self._session: ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def probe(self, target: Target, probe: Probe) -> Outcome:
        """One attempt, within the probe's timeout."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                if probe.exec is not None:
                    return await self._exec(target, probe.exec, probe.timeout_seconds)
                if probe.http_get is not None:
                    return await self._http(target, probe.http_get)
                if probe.tcp_socket is not None:
                    return await self._tcp(target, probe.tcp_socket)
                if probe.grpc is not None:
                    return await self._grpc(target, probe.grpc, probe.timeout_seconds)
        except TimeoutError as error:
            return Outcome(False, str(error) or f"probe timed out after {probe.timeout_seconds}s")
        except ValueError as error:
            return Outcome(None, f"no such port: {error}")
        return Outcome(None, "the probe has no handler")

    async def hook(self, target: Target, handler: LifecycleHandler) -> None:
        """Carry out a postStart or preStop hook. Raises HookFailed."""
        outcome = Outcome(True)
        try:
            if handler.exec is not None:
                outcome = await self._exec(target, handler.exec, 0)
            elif handler.http_get is not None:
                outcome = await self._http(target, handler.http_get)
            elif handler.tcp_socket is not None:
                outcome = await self._tcp(target, handler.tcp_socket)
            elif handler.sleep is not None:
                await self._clock.sleep(handler.sleep.seconds)
        except (TimeoutError, ValueError) as error:
            raise HookFailed(str(error)) from error
        if not outcome.ok:
            raise HookFailed(outcome.output)

    async def _exec(self, target: Target, action: ExecAction, within: float) -> Outcome:
        try:
            result = await self._runtime.exec_sync(target.container_id, action.command, within)
        except RuntimeFault as error:
            # The command cannot be run: for the container the same as one that fails.
            return Outcome(False, str(error))
        output = (result.stdout + result.stderr)[:_MAX_BODY].decode(errors="replace")
        return Outcome(result.exit_code == 0, output or f"command exited with {result.exit_code}")

    async def _http(self, target: Target, action: HttpGetAction) -> Outcome:
        from aiohttp import ClientError

        host = action.host or target.ip
        shown = f"[{host}]" if ":" in host else host
        path = action.path if action.path.startswith("/") else "/" + action.path
        url = f"{action.scheme.lower()}://{shown}:{target.port(action.port)}{path}"
        headers = {"User-Agent": _AGENT, "Accept": "*/*"} | {item.name: item.value for item in action.http_headers}
        try:
            async with self._http_session().get(url, headers=headers, ssl=False, max_redirects=10) as answer:
                await answer.content.read(_MAX_BODY)
                if 200 <= answer.status < 400:
                    return Outcome(True)
                return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")
        except (ClientError, OSError) as error:
            return Outcome(False, f'Get "{url}": {error}')

    def _http_session(self) -> ClientSession:
        if self._session is None:
            from aiohttp import ClientSession, DummyCookieJar

            from tiphys.base.outgoing import Connector

            connector = Connector(force_close=True, limit=0, use_dns_cache=False)
            self._session = ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False)
        return self._session

    async def _tcp(self, target: Target, action: TcpSocketAction) -> Outcome:
        try:
            _, writer = await asyncio.open_connection(action.host or target.ip, target.port(action.port))
        except OSError as error:
            return Outcome(False, f"dial tcp {action.host or target.ip}:{target.port(action.port)}: {error}")
        writer.close()
        return Outcome(True)

    async def _grpc(self, target: Target, action: GrpcAction, within: float) -> Outcome:
        from tiphys.node.grpc_health import check

        outcome, output = await check(f"[{target.ip}]:{action.port}", action.service, within)
        return Outcome(outcome, output)
