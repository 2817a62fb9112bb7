"""The kubelet's HTTPS server; `access.py` says who may ask, `node_pages.py` answers what is about the node.

Paths and parameters are upstream's, so any API server can talk to it: /containerLogs/NS/POD/CONTAINER, /exec, /attach,
/portForward, /run.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.client.client import Client
from tiphys.client.tunnel import TunnelFailed, tunnel
from tiphys.kubelet.agent import Kubelet
from tiphys.kubelet.identity import log_directory
from tiphys.kubelet.runtime import Container, ExecOptions, RuntimeFault
from tiphys.kubelet.server import log_files, port_tunnel, remote_command, websockets
from tiphys.kubelet.server.access import Access, Handler
from tiphys.kubelet.server.log_files import LogOptions
from tiphys.kubelet.server.node_pages import NodePages
from tiphys.kubelet.worker import PodWorker

_SLOW_SECONDS = 60.0


class KubeletServer:
    """`start`, then `stop`. Without `tls` it serves plain HTTP, for tests on loopback only."""

    def __init__(self, kubelet: Kubelet, client: Client, clock: Clock) -> None:
        self._kubelet, self._client, self._clock = kubelet, client, clock
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        access = Access(self._client, self._kubelet.config.node_name, self._clock)
        app = web.Application(middlewares=[_faults] if tls is None else [access.guard, _faults])
        self._route(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _route(self, app: web.Application) -> None:
        pod = "/{namespace}/{pod}"
        for tail in ("/{container}", "/{uid}/{container}"):
            for name, handler in (("exec", self._exec), ("attach", self._attach)):
                app.router.add_route("*", f"/{name}{pod}{tail}", handler)
            app.router.add_post(f"/run{pod}{tail}", self._run)
        for tail in ("", "/{uid}"):
            app.router.add_route("*", f"/portForward{pod}{tail}", self._port_forward)
        app.router.add_get(f"/containerLogs{pod}/{{container}}", self._logs)
        NodePages(self._kubelet, self._client, self._clock).route(app.router)

    def _worker(self, request: web.Request) -> PodWorker:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        worker = self._kubelet.pods.get(namespace, name)
        if worker is None:
            raise web.HTTPNotFound(text=f'pod "{namespace}/{name}" not found on this node')
        return worker

    def _container(self, request: web.Request) -> Container:
        """The running container that the URL names."""
        name = request.match_info["container"]
        worker = self._worker(request)
        found = worker.found.latest(name)
        if found is None or not found.running:
            raise web.HTTPNotFound(text=f'container "{name}" of pod "{worker.pod.metadata.key}" is not running')
        return found

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        options = _options(request)
        if not options.command:
            raise web.HTTPBadRequest(text="you must specify at least one command for the container")
        url = await self._kubelet.runtime.exec_url(self._container(request).id, options)
        return await _command(request, url, options)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        options = _options(request)
        url = await self._kubelet.runtime.attach_url(self._container(request).id, options)
        return await _command(request, url, options)

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._worker(request).found.sandbox
        if sandbox is None or not sandbox.ready:
            raise web.HTTPNotFound(text="the pod is not running")
        ports = [int(port) for port in request.query.getall("port", []) if port.isdecimal()]
        url = await self._kubelet.runtime.port_forward_url(sandbox.id, ports)
        if websockets.is_websocket(request) and port_tunnel.PROTOCOL in websockets.offered(request):
            return await port_tunnel.serve(request, url)
        return await _stream(request, url)

    async def _run(self, request: web.Request) -> web.StreamResponse:
        command = request.query.get("cmd", "").split(" ")
        result = await self._kubelet.runtime.exec_sync(self._container(request).id, command, _SLOW_SECONDS)
        return web.Response(body=result.stdout + result.stderr)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        worker = self._worker(request)
        name = request.match_info["container"]
        if all(item.name != name for item in worker.pod.spec.all_containers()):
            raise web.HTTPNotFound(text=f'container "{name}" not found in pod "{worker.pod.metadata.name}"')
        every = worker.found.all(name)
        previous = request.query.get("previous") in ("true", "1")
        if len(every) <= previous:
            what = "previous terminated container" if previous else "container"
            why = "not found" if previous else "is waiting to start: ContainerCreating"
            text = f'{what} "{name}" in pod "{worker.pod.metadata.name}" {why}'
            raise web.HTTPBadRequest(text=text)
        chosen = every[int(previous)]
        path = Path(log_directory(str(self._kubelet.config.logs), worker.pod), name, f"{chosen.attempt}.log")
        return await self._stream_log(request, worker, chosen, path)

    async def _stream_log(
        self, request: web.Request, worker: PodWorker, container: Container, path: Path
    ) -> web.StreamResponse:  # fmt: skip
        options = _log_options(request, self._clock.time())

        def running() -> bool:
            return any(item.id == container.id and item.running for item in worker.found.containers)

        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        try:
            async for block in log_files.read(path, options, running, lambda: worker.ended(container.id)):
                if not answer.prepared:
                    await answer.prepare(request)
                if block:
                    await answer.write(block)
        except FileNotFoundError as error:
            raise web.HTTPNotFound(text=f"the log of container {container.name} is gone") from error
        if not answer.prepared:
            await answer.prepare(request)
        await answer.write_eof()
        return answer


async def _command(request: web.Request, url: str, options: ExecOptions) -> web.StreamResponse:
    """Runtimes know no WebSocket that can end input, so WebSockets end here; SPDY is the runtime's own."""
    if websockets.is_websocket(request):
        return await remote_command.serve(request, url, options)
    return await _stream(request, url)


async def _stream(request: web.Request, url: str) -> web.StreamResponse:
    """Hand the connection to the runtime's streaming server, which reads the client's bytes as they are."""
    there = urlsplit(url)
    path = there.path + (f"?{there.query}" if there.query else "")
    try:
        return await tunnel(request, (there.hostname or "127.0.0.1", there.port or 80), path)
    except TunnelFailed as error:
        raise web.HTTPBadGateway(text=f"the runtime's streaming server: {error}") from error


@web.middleware
async def _faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RuntimeFault as fault:
        return web.Response(status=500, text=str(fault))


def _options(request: web.Request) -> ExecOptions:
    def flag(name: str) -> bool:
        return request.query.get(name) in ("1", "true")

    command = tuple(request.query.getall("command", []))
    return ExecOptions(command, flag("input"), flag("output"), flag("error"), flag("tty"))


def _log_options(request: web.Request, now: float) -> LogOptions:
    query = request.query
    try:
        since = 0.0
        if "sinceTime" in query:
            since = seconds(query["sinceTime"])
        elif "sinceSeconds" in query:
            since = now - int(query["sinceSeconds"])
        return LogOptions(
            query.get("follow") in ("true", "1"), int(query["tailLines"]) if "tailLines" in query else None, since,
            query.get("timestamps") in ("true", "1"), int(query["limitBytes"]) if "limitBytes" in query else None,
            query.get("stream", "All"),
        )  # fmt: skip
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"bad log option: {error}") from error
