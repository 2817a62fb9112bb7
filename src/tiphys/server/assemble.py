"""Puts the API server together: the one page that shows what it consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tiphys.api.registry import Registry
from tiphys.api.resource import Json
from tiphys.base.clock import Clock
from tiphys.server import pages, reviews
from tiphys.server.admission.chain import Chain
from tiphys.server.admission.matching import Matching
from tiphys.server.admission.plugins.order import Parts, Selected, build
from tiphys.server.admission.plugins.service_addresses import Network, ServiceAddresses
from tiphys.server.aggregation.apiservices import ApiServices
from tiphys.server.aggregation.client import AggregationClient, Identity
from tiphys.server.aggregation.remotes import Aggregation
from tiphys.server.aggregation.upgrade import RemoteUpgrades
from tiphys.server.app import ApiServer
from tiphys.server.authn import Authenticator
from tiphys.server.authz import Rbac, Union
from tiphys.server.bootstrap_tokens import BootstrapTokens
from tiphys.server.cache import Cache
from tiphys.server.custom.controller import CustomResources
from tiphys.server.heads import Readers
from tiphys.server.node_authorizer import NodeAuthorizer
from tiphys.server.openapi import OpenApi
from tiphys.server.subresources import other, pods, scale
from tiphys.server.tokens import Tokens
from tiphys.server.webhook_client import Post, WebhookClient
from tiphys.store import Store

_CORE = "/registry/core/"


@dataclass(slots=True)
class Settings:
    service_network: Network
    issuer: str
    token_key: EllipticCurvePrivateKey
    node_ports: range = field(default_factory=lambda: range(30000, 32768))
    admission: Selected = field(default_factory=Selected)
    # What speaks to webhooks; by default, HTTPS does.
    post: Post | None = None
    # Whether no other server writes to the store.
    alone: bool = True
    # Who this server is to extension API servers.
    front_proxy: Identity | None = None


@dataclass(slots=True)
class Assembled:
    server: ApiServer
    cache: Cache
    tokens: Tokens
    authenticator: Authenticator
    custom: CustomResources
    addresses: ServiceAddresses
    # To be closed when the server ends.
    webhooks: WebhookClient
    aggregation: AggregationClient
    api_services: ApiServices
    # For the web front: upgrades that extension API servers answer.
    remote_upgrades: RemoteUpgrades


async def assemble(store: Store, registry: Registry, settings: Settings, clock: Clock) -> Assembled:
    """A server over `store` with the resources of `registry`; its cache is loaded, nothing runs yet."""
    cache = Cache(store, _readers_of(registry), alone=settings.alone)
    await cache.load()
    tokens = Tokens(settings.token_key, settings.issuer, clock, lambda *what: _uid(cache, *what))
    rbac = Rbac(cache)
    addresses = ServiceAddresses(cache, settings.service_network, settings.node_ports)
    authorizer = Union([NodeAuthorizer(cache), rbac])
    webhooks = WebhookClient(cache, settings.post)
    matching, limits = Matching(registry, cache), settings.admission.event_limits
    parts = Parts(cache, registry, rbac, authorizer, webhooks, matching, clock, limits)
    plugins = [*build(parts, settings.admission), addresses]
    server = ApiServer(cache, registry, authorizer, Chain(plugins), clock)
    scale.install(server)
    pods.install(server)
    other.install(server, tokens)
    reviews.install(server, rbac, tokens)
    pages.install(server, tokens)
    remotes = AggregationClient(settings.front_proxy)
    aggregation = Aggregation(cache, remotes, server.discovery)
    server.extensions.remote = aggregation.answer
    openapi = OpenApi(registry)
    openapi.join(aggregation)
    openapi.install(server.extensions)
    custom = CustomResources(server, cache, webhooks)
    custom.load()
    authenticator = Authenticator(tokens, BootstrapTokens(cache, clock))
    return Assembled(
        server, cache, tokens, authenticator, custom, addresses, webhooks, remotes,
        ApiServices(server, cache, aggregation), RemoteUpgrades(server, aggregation, remotes),
    )  # fmt: skip


def _readers_of(registry: Registry) -> Callable[[str], Readers]:
    def readers(prefix: str) -> Readers:
        for resource in registry:
            if resource.hub is None and resource.prefix == prefix:
                return resource.selectable_fields
        return {}

    return readers


def _uid(cache: Cache, plural: str, namespace: str, name: str) -> str | None:
    key = f"{_CORE}{plural}/{namespace}/{name}" if namespace else f"{_CORE}{plural}/{name}"
    entry = cache.of(f"{_CORE}{plural}/").items.get(key)
    if entry is None:
        return None
    obj: Json = entry.decode()
    uid: str = obj["metadata"]["uid"]
    return uid
