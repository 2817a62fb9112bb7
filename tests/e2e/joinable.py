"""An API server behind real TLS with what joining needs: the controllers of tokens and certificates, and the facts."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiphys.api.http import User
from tiphys.api.time import rfc3339
from tiphys.base.clock import SystemClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.client.timers import Timers
from tiphys.controllers.authority import Authority
from tiphys.controllers.base import Context, Runner
from tiphys.controllers.bootstrap_signer import BootstrapSignerController
from tiphys.controllers.certificate_approving import CertificateApprovingController
from tiphys.controllers.certificate_signing import CertificateSigningController
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.secret import SECRETS
from tiphys.kinds.registry import builtin
from tiphys.main.cluster import Cluster, Settings
from tiphys.main.cluster_facts import publish_cluster
from tiphys.main.pki import Leaf, Pki, load_key, pin_of
from tiphys.main.token import JoinToken
from tiphys.server import assemble as server
from tiphys.server import control_plane_bundle
from tiphys.server.authn import Authenticator
from tiphys.server.bootstrap import bootstrap
from tiphys.server.bootstrap_tokens import BootstrapTokens
from tiphys.server.connect import Connect
from tiphys.server.web import Front
from tiphys.store.memory import MemoryStore

SECRET = "0123456789abcdef"
_ROOT = User("admin", groups=("system:masters", "system:authenticated"))


@dataclass
class Joinable:
    """A cluster to join at `url`; `client` is an administrator's."""

    url: str
    pki: Pki
    client: Client
    clock: SystemClock
    informers: Informers
    authority: Authority

    async def token(self, identity: str = "abcdef", *, seconds: float = 600, groups: str = "") -> JoinToken:
        """A token that is signed with, once this returns."""
        data = {
            "token-id": identity, "token-secret": SECRET, "expiration": rfc3339(self.clock.time() + seconds),
            "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true", "auth-extra-groups": groups,
        }  # fmt: skip
        encoded = {name: b64encode(value.encode()).decode() for name, value in data.items() if value}
        meta = {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"}
        secret = {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "data": encoded}
        await self.client.of(SECRETS).create(secret)
        if seconds > 0:
            await self._signed(identity)
        return JoinToken(identity, SECRET, pin_of(self.pki.ca.read_bytes()))

    async def _signed(self, identity: str) -> None:
        query = {"fieldSelector": "metadata.name=cluster-info"}
        async with self.client.of(CONFIG_MAPS).watch("kube-public", **query) as events:
            async for _, data in events:
                if f"jws-kubeconfig-{identity}".encode() in data:
                    return


@asynccontextmanager
async def joinable(
    base: Path, addresses: Sequence[str] = ("127.0.0.1", "localhost"), *, name: str = "demo", store: str = "sqlite"
) -> AsyncIterator[Joinable]:
    clock, pki = SystemClock(), Pki(base / "server-pki")
    leaves = {"server": Leaf("kube-apiserver", names=addresses), "admin": Leaf("admin", ["system:masters"])}
    pki.ensure(name, leaves, {"etcd-ca": {"etcd-client": Leaf("tiphys-server")}})
    settings = Settings(name, 7, 6443, 10250, addresses[0], "first", store=store)
    async with AsyncExitStack() as stack:
        chosen = server.Settings(settings.services, "https://issuer", load_key(pki.key("sa")))
        assembled = await server.assemble(MemoryStore(), builtin(), chosen, clock)
        stack.push_async_callback(assembled.webhooks.close)
        stack.push_async_callback(assembled.aggregation.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", assembled.cache.run)
        transport = InProcess(assembled.server.handle, _ROOT, "test")
        await bootstrap(transport, settings.services)
        supervisor.start("custom resources", assembled.custom.run)
        tokens = BootstrapTokens(assembled.cache, clock)

        async def shared() -> dict[str, bytes]:
            return pki.shared()

        control_plane_bundle.install(assembled.server, tokens, shared)
        connect = Connect(assembled.server, pki.client_tls("admin"))
        stack.push_async_callback(connect.close)
        front = Front(assembled.server, Authenticator(assembled.tokens, tokens), connect)
        await front.start(addresses[0], 0, pki.server_tls("server"))
        stack.push_async_callback(front.stop)
        url = f"https://{addresses[0]}:{front.port}"
        await publish_cluster(transport, settings, [url])
        ca = Authority(pki.ca.read_text(), pki.key("ca").read_bytes(), addresses)
        informers = _controllers(assembled, supervisor, clock, ca, url)
        yield Joinable(url, pki, Client(transport, manager="test"), clock, informers, ca)


def _controllers(
    assembled: server.Assembled, supervisor: Supervisor, clock: SystemClock, ca: Authority, url: str
) -> Informers:
    def component(name: str) -> Client:
        user = User(f"system:{name}", groups=("system:authenticated",))
        return Client(InProcess(assembled.server.handle, user, name), manager=name)

    informers, timers = Informers(component("kube-controller-manager"), clock), Timers(clock)
    supervisor.start("timers", timers.run)
    made: list[Any] = [
        (CertificateApprovingController, [ca, [ipaddress.ip_network("10.42.0.0/16")]]),
        (CertificateSigningController, [ca]),
        (BootstrapSignerController, [ca, url]),
    ]
    for kind, arguments in made:
        context = Context(kind.name, component(f"controller:{kind.name}"), informers, clock, timers)
        controller = kind(context, *arguments)
        supervisor.start(kind.name, Runner(controller, context).run)
    for informer in informers:
        supervisor.start(informer.resource.plural, informer.run)
    return informers


def machine(base: Path, name: str = "demo") -> Cluster:
    """A machine's own places for a cluster."""
    made = Cluster(name)
    made.state, made.run, made.etc = base / "state", base / "run", base / "etc"
    return made
