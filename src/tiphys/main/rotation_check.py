"""Who has followed a step of the CA's rotation: asked by a TLS handshake with every server and every node."""

from __future__ import annotations

import http.client
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tiphys.main import admin
from tiphys.main.cluster import Cluster
from tiphys.main.leaf import Leaf, make_leaf, new_key, pem
from tiphys.main.pki import Pki
from tiphys.main.rotation import State, new_issuer

_SECONDS = 5.0
_API_SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


class Place(NamedTuple):
    what: str
    host: str
    port: int


def trusts_not(cluster: Cluster, state: State) -> list[str]:
    """Who refuses a client certificate of the new CA."""
    key = new_key()
    certificate = make_leaf(Leaf("tiphys-ca-rotation"), key, new_issuer(Pki(cluster.pki), state), time.time())
    context = ssl.create_default_context(cafile=os.fspath(Pki(cluster.pki).ca))
    with tempfile.TemporaryDirectory() as directory:
        # The library reads certificates from files only.
        path = Path(directory, "client.pem")
        path.touch(mode=0o600)
        path.write_bytes(pem(certificate) + pem(key))
        context.load_cert_chain(path)
    return _failing(places(cluster), lambda place: _answers(place, context))


def shows_not(cluster: Cluster, state: State) -> list[str]:
    """Who shows a certificate that the new CA did not make."""
    pki = Pki(cluster.pki)
    context = ssl.create_default_context(cadata=state.certificate.decode())
    context.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    return _failing(places(cluster), lambda place: _answers(place, context))


def places(cluster: Cluster) -> list[Place]:
    """The API servers and the nodes' kubelets."""
    found = []
    slice_ = admin.call(cluster, "GET", _API_SLICE)
    for endpoint in slice_["endpoints"]:
        for address in endpoint["addresses"]:
            found.append(Place(f"API server {address}", address, slice_["ports"][0]["port"]))
    for node in admin.call(cluster, "GET", "/api/v1/nodes")["items"]:
        status = node.get("status") or {}
        port = (((status.get("daemonEndpoints") or {}).get("kubeletEndpoint")) or {}).get("Port", 0)
        hosts = [each["address"] for each in status.get("addresses") or () if each["type"] == "InternalIP"]
        if hosts and port:
            found.append(Place(f"node {node['metadata']['name']}", hosts[0], port))
    return found


def _failing(asked: list[Place], check: Callable[[Place], bool]) -> list[str]:
    with ThreadPoolExecutor(16) as pool:
        return [place.what for place, good in zip(asked, pool.map(check, asked), strict=True) if not good]


def _answers(place: Place, context: ssl.SSLContext) -> bool:
    """Whether there is an answer, whatever it says: a server that refuses the certificate gives none."""
    connection = http.client.HTTPSConnection(place.host, place.port, timeout=_SECONDS, context=context)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/healthz")
        with connection.getresponse() as answer:
            return answer.status > 0
    connection.close()
    return False
