"""How a machine speaks to a cluster before it runs: as the bearer of a token, then as the node that it has become."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tiphys.api.errors import Unauthorized
from tiphys.base.clock import Clock
from tiphys.client.http import Https
from tiphys.client.transport import Transport, Unreachable
from tiphys.main.cluster import ClusterError
from tiphys.main.discovery import Trust, checked_url, discover
from tiphys.main.pki import Pki
from tiphys.main.token import JoinToken, parse


@asynccontextmanager
async def introduced(server_url: str, text: str, clock: Clock) -> AsyncIterator[tuple[Transport, Trust]]:
    """A transport that speaks as the bearer of the token, to nobody but the cluster that the token is for."""
    url, token = checked_url(server_url), parse(text)
    trust = await discover(url, token, clock)
    transport = Https([url], trust.tls(), agent="tiphys-join", token=lambda: token.bearer)
    try:
        yield transport, trust
    except Unauthorized as error:
        raise _refused(url, token, trust) from error
    except Unreachable as error:
        raise _lost(url, error) from error
    finally:
        await transport.close()


@asynccontextmanager
async def itself(server_url: str, pki: Pki, certificate: str) -> AsyncIterator[Transport]:
    """A transport in the node's own name: that is what shows that the name is its own."""
    url = checked_url(server_url)
    transport = Https([url], pki.client_tls(certificate), agent="tiphys-agent")
    try:
        yield transport
    except Unreachable as error:
        raise _lost(url, error) from error
    finally:
        await transport.close()


def _refused(url: str, token: JoinToken, trust: Trust) -> ClusterError:
    why = "its secret is wrong, copy it whole" if trust.known else "it has expired, was deleted, or never was"
    return ClusterError(
        f"{url} does not accept token {token.id}: {why}; `tiphys token create` on a control plane prints a new one"
    )


def _lost(url: str, error: Unreachable) -> ClusterError:
    if isinstance(error.__cause__, aiohttp.ClientSSLError | ssl.SSLError):
        return ClusterError(
            f"what answers at {url} does not prove that it is the cluster's ({error.__cause__}): either its "
            "certificate does not have this address, then use another address of it, or somebody stands between"
        )
    return ClusterError(f"{url} answered, but no longer does ({error}); begin again once it does")
