"""Bootstrap tokens are removed when they expire, and what machines read that want to join is signed with each."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from certificates import authority

from tiphys.api.bootstrap_tokens import signed_by
from tiphys.api.time import rfc3339
from tiphys.controllers.bootstrap_signer import BootstrapSignerController
from tiphys.controllers.token_cleaner import TokenCleanerController
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.secret import SECRETS

SECRET = "0123456789abcdef"
URL = "https://192.0.2.1:6443"


def token(cluster: Any, identity: str, seconds: float, **more: str) -> dict[str, Any]:
    data = {"token-id": identity, "token-secret": SECRET, "expiration": rfc3339(cluster.clock.time() + seconds),
            "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true", **more}  # fmt: skip
    meta = {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"}
    return {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "stringData": data}


async def test_a_token_goes_when_it_expires(cluster: Any) -> None:
    cluster.start(TokenCleanerController)
    await cluster.create(SECRETS, token(cluster, "aaaaaa", 60))
    await cluster.create(SECRETS, token(cluster, "bbbbbb", 600))
    await cluster.clock.advance(61)
    await cluster.gone(SECRETS, "bootstrap-token-aaaaaa", "kube-system")
    assert await cluster.get(SECRETS, "bootstrap-token-bbbbbb", "kube-system")


async def test_cluster_info_is_signed_with_every_token_and_follows_the_ca(cluster: Any, tmp_path: Path) -> None:
    ca = authority(tmp_path)
    cluster.start(BootstrapSignerController, ca, URL)
    await cluster.create(SECRETS, token(cluster, "aaaaaa", 60))
    await cluster.create(SECRETS, token(cluster, "bbbbbb", 60, **{"usage-bootstrap-signing": "false"}))

    async def data(*keys: str) -> Any:
        found = await cluster.get(CONFIG_MAPS, "cluster-info", "kube-public")
        return found["data"] if found and set(found["data"]) == {"kubeconfig", *keys} else None

    signed = await cluster.until(lambda: data("jws-kubeconfig-aaaaaa"))
    (entry,) = json.loads(signed["kubeconfig"])["clusters"]
    assert entry["cluster"]["server"] == URL
    assert base64.b64decode(entry["cluster"]["certificate-authority-data"]).decode() == ca.bundle
    assert signed_by(signed["kubeconfig"], signed["jws-kubeconfig-aaaaaa"], SECRET)
    assert not signed_by(signed["kubeconfig"], signed["jws-kubeconfig-aaaaaa"], SECRET[::-1])
    assert not signed_by(signed["kubeconfig"] + " ", signed["jws-kubeconfig-aaaaaa"], SECRET)

    ca.replace(ca.bundle + "more", b"", ())

    async def renewed() -> Any:
        found = await data("jws-kubeconfig-aaaaaa")
        return found and found["kubeconfig"] != signed["kubeconfig"] and found

    again = await cluster.until(renewed)
    assert signed_by(again["kubeconfig"], again["jws-kubeconfig-aaaaaa"], SECRET)
    await cluster.delete(SECRETS, "bootstrap-token-aaaaaa", "kube-system")
    await cluster.until(data)
    await cluster.delete(CONFIG_MAPS, "cluster-info", "kube-public")
    await cluster.until(data)


@pytest.mark.filterwarnings("ignore:The HMAC key is 16 bytes")
async def test_the_signature_is_a_detached_jws(cluster: Any, tmp_path: Path) -> None:
    cluster.start(BootstrapSignerController, authority(tmp_path), URL)
    await cluster.create(SECRETS, token(cluster, "aaaaaa", 60))

    async def signed() -> Any:
        found = await cluster.get(CONFIG_MAPS, "cluster-info", "kube-public")
        return found and "jws-kubeconfig-aaaaaa" in found["data"] and found["data"]

    data = await cluster.until(signed)
    header, _, mac = data["jws-kubeconfig-aaaaaa"].partition("..")
    body = base64.urlsafe_b64encode(data["kubeconfig"].encode()).rstrip(b"=").decode()
    jws = jwt.PyJWS()
    assert jws.decode(f"{header}.{body}.{mac}", SECRET, ["HS256"]) == data["kubeconfig"].encode()
    assert jwt.get_unverified_header(f"{header}.{body}.{mac}")["kid"] == "aaaaaa"
