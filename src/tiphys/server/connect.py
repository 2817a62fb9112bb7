"""Connecting through to a node: logs, exec, attach, port-forward and the proxies.

The server decides who may; the bytes then go between client and kubelet untouched, so every protocol that both ends
speak (SPDY, WebSocket) works. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from urllib.parse import urlencode

import aiohttp
import orjson
from aiohttp import web

from tiphys.api import errors
from tiphys.api.http import Request
from tiphys.api.resource import Json
from tiphys.base.outgoing import Connector
from tiphys.client.tunnel import TunnelFailed, tunnel
from tiphys.server.admission.connect import admit_connect
from tiphys.server.app import ApiServer
from tiphys.server.authz import refusal
from tiphys.server.call import Call
from tiphys.server.route import Target, target_of

_KUBELET = {"exec": "exec", "attach": "attach", "portforward": "portForward", "log": "containerLogs"}
_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "te", "trailers", "transfer-encoding", "upgrade", "host",
     "authorization", "content-length")
)  # fmt: skip
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_SUMMARY = aiohttp.ClientTimeout(total=5)


class Connect:
    """The upgrade hook of the web front; `tls` shows the server's client certificate to kubelets."""

    def __init__(self, server: ApiServer, tls: ssl.SSLContext) -> None:
        self._server, self._tls = server, tls
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, http: web.BaseRequest, request: Request) -> web.StreamResponse | None:
        target = target_of(request)
        if target.group or target.resource not in ("pods", "services", "nodes"):
            return None
        call = self._authorized(request, target)
        await admit_connect(self._server.writes, call)
        if target.subresource == "proxy":
            return await self._proxy(http, call)
        if target.resource != "pods":
            return None
        pod = (await self._server.reads.entry(call)).decode()
        host, port = await self._kubelet(pod)
        path = _kubelet_path(target, pod, request)
        if target.subresource == "log":
            return await self._forward(http, f"https://{host}:{port}{path}", b"")
        try:
            return await tunnel(http, (host, port), path, self._tls)
        except TunnelFailed as error:
            raise errors.ServiceUnavailable(str(error)) from error

    def _authorized(self, request: Request, target: Target) -> Call:
        user = request.user
        if user is None:
            raise errors.Unauthorized("Unauthorized")
        # Exec by WebSocket comes as a GET; it is creation all the same.
        if target.subresource in ("exec", "attach", "portforward"):
            target.verb = "create"
        if not self._server.authorizer.allows(user, target):
            raise refusal(user, target)
        return self._server.call(request, target, user)

    async def _kubelet(self, pod: Json) -> tuple[str, int]:
        name = pod["spec"].get("nodeName")
        if not name:
            raise errors.BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
        return await self._node(name)

    async def _node(self, name: str) -> tuple[str, int]:
        entry = self._server.cache.of("/registry/core/nodes/").items.get(f"/registry/core/nodes/{name}")
        if entry is None:
            raise errors.no_such("", "nodes", name)
        status = entry.decode().get("status") or {}
        addresses = {a["type"]: a["address"] for a in status.get("addresses") or ()}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port", 10250)
        address = addresses.get("InternalIP") or addresses.get("Hostname")
        if not address:
            raise errors.ServiceUnavailable(f"node {name} has no address yet")
        return address, port

    async def _proxy(self, http: web.BaseRequest, call: Call) -> web.StreamResponse:
        target = call.target
        scheme, name, port = _split_name(target.name)
        query = f"?{http.rel_url.raw_query_string}" if http.rel_url.raw_query_string else ""
        tail = f"/{target.tail}{'/' if call.request.path.endswith('/') and target.tail else ''}"
        if target.resource == "nodes":
            host, kubelet = await self._node(name)
            base = f"https://{host}:{port or kubelet}"
        elif target.resource == "pods":
            number = port or self._pod_port(target.namespace, name)
            base = f"{scheme}://{self._pod_address(target.namespace, name)}:{number}"
        else:
            address, number = self._service_backend(target.namespace, name, port)
            base = f"{scheme}://{address}:{number}"
        body = await http.read() if http.body_exists else b""
        return await self._forward(http, f"{base}{tail}{query}", body)

    def _pod(self, namespace: str, name: str) -> Json:
        entry = self._server.cache.of("/registry/core/pods/").items.get(f"/registry/core/pods/{namespace}/{name}")
        if entry is None:
            raise errors.no_such("", "pods", name)
        return entry.decode()

    def _pod_address(self, namespace: str, name: str) -> str:
        address: str = (self._pod(namespace, name).get("status") or {}).get("podIP", "")
        if not address:
            raise errors.ServiceUnavailable(f"pod {name} has no address yet")
        return address

    def _pod_port(self, namespace: str, name: str) -> int:
        for container in self._pod(namespace, name)["spec"]["containers"]:
            for port in container.get("ports") or ():
                return int(port["containerPort"])
        return 80

    def _service_backend(self, namespace: str, name: str, port: str) -> tuple[str, int]:
        """A ready endpoint of the Service behind the port that is named, numbered or the only one."""
        slices = self._server.cache.of("/registry/discovery.k8s.io/endpointslices/")
        numbers = self._port_names(namespace, name, port)
        for entry in slices.scan(f"/registry/discovery.k8s.io/endpointslices/{namespace}/"):
            if entry.labels.get("kubernetes.io/service-name") != name:
                continue
            found = entry.decode()
            for endpoint in found.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for candidate in found.get("ports") or ():
                    if not port or candidate.get("name", "") in numbers or str(candidate.get("port")) == port:
                        return endpoint["addresses"][0], candidate["port"]
        raise errors.ServiceUnavailable(f'no endpoints available for service "{name}"')

    def _port_names(self, namespace: str, name: str, port: str) -> set[str]:
        entry = self._server.cache.of("/registry/core/services/").items.get(
            f"/registry/core/services/{namespace}/{name}"
        )
        if entry is None:
            raise errors.no_such("", "services", name)
        ports = entry.decode()["spec"].get("ports") or ()
        return {p.get("name", "") for p in ports if port in ("", p.get("name", ""), str(p["port"]))}

    async def _forward(self, http: web.BaseRequest, url: str, body: bytes) -> web.StreamResponse:
        """Pass a plain exchange on, streaming the answer back."""
        headers = {name: value for name, value in http.headers.items() if name.lower() not in _HOP}
        try:
            response = await self._client().request(
                http.method, url, data=body or None, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error}") from error
        async with response:
            kept = {name: value for name, value in response.headers.items() if name.lower() not in _HOP}
            answer = web.StreamResponse(status=response.status, headers=kept)
            with suppress(ConnectionError):
                await answer.prepare(http)
                async for chunk in response.content.iter_any():
                    await answer.write(chunk)
                await answer.write_eof()
            return answer

    async def summary(self, node: str) -> Json:
        """What a node's kubelet says of its and its pods' use of the machine. Raises ApiError."""
        host, port = await self._node(node)
        try:
            url = f"https://{host}:{port}/stats/summary?only_cpu_and_memory=true"
            async with self._client().get(url, timeout=_SUMMARY) as answer:
                found: Json = orjson.loads(await answer.read())
                return found
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise errors.ServiceUnavailable(f"node {node} does not answer: {error}") from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=Connector(ssl=self._tls), auto_decompress=False)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _split_name(name: str) -> tuple[str, str, str]:
    """`https:web:8443` or `web:http` or `web`: scheme, name, port."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[0] or "http", parts[1], parts[2]
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _kubelet_path(target: Target, pod: Json, request: Request) -> str:
    """The kubelet's URL of the same thing: the container is in the path, the options are renamed."""
    meta, query = pod["metadata"], dict(request.query)
    root = f"/{_KUBELET[target.subresource]}/{meta['namespace']}/{meta['name']}"
    if target.subresource == "portforward":
        ports = [("port", port) for port in query.get("ports", ())]
        return f"{root}?{urlencode(ports)}" if ports else root
    container = _container(pod, request.param("container"))
    root += f"/{container}"
    if target.subresource == "log":
        query.pop("container", None)
        return f"{root}?{urlencode(query, doseq=True)}"
    renamed = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
    options = [(new, "1") for old, new in renamed.items() if request.flag(old) or request.param(old) == "1"]
    options += [("command", word) for word in query.get("command", ())]
    return f"{root}?{urlencode(options)}"


def _container(pod: Json, wanted: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    known = [
        c["name"] for field in ("containers", "initContainers", "ephemeralContainers") for c in spec.get(field) or ()
    ]
    if wanted:
        if wanted not in known:
            raise errors.BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    main = [c["name"] for c in spec["containers"]]
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if default in known:
        return str(default)
    if len(main) > 1:
        raise errors.BadRequest(f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]")
    return str(main[0])
