"""Bootstrap tokens open the API to who holds one, as long as it is in order; everybody may read what they sign."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tiphys.api.errors import Unauthorized
from tiphys.api.http import User
from tiphys.api.time import rfc3339
from tiphys.server.authn import Authenticator
from tiphys.server.bootstrap_tokens import BootstrapTokens

TOKEN = "abcdef.0123456789abcdef"
PLACE = "/api/v1/namespaces/kube-system/secrets"


async def make(api: Any, **more: str | None) -> None:
    data: dict[str, str | None] = {
        "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        "expiration": rfc3339(api.clock.time() + 60), **{name.replace("_", "-"): value for name, value in more.items()},
    }  # fmt: skip
    encoded = {name: b64encode(value.encode()).decode() for name, value in data.items() if value is not None}
    body = {"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": encoded}
    await api.ok("POST", PLACE, body)
    await api.assembled.server.caught_up()


def user(api: Any, token: str = TOKEN) -> User | None:
    bootstrap = BootstrapTokens(api.assembled.cache, api.clock)
    return Authenticator(api.assembled.tokens, bootstrap).authenticate({"authorization": f"Bearer {token}"}, None)


async def test_a_token_is_a_bootstrapper_until_it_expires(api: Any) -> None:
    await make(api, auth_extra_groups="system:bootstrappers:tiphys:control-plane,system:bootstrappers:mine")
    found = user(api)
    assert found is not None
    assert found.name == "system:bootstrap:abcdef"
    assert found.groups == (
        "system:bootstrappers", "system:bootstrappers:tiphys:control-plane", "system:bootstrappers:mine",
        "system:authenticated",
    )  # fmt: skip
    await api.clock.advance(61)
    with pytest.raises(Unauthorized):
        user(api)


@pytest.mark.parametrize(
    "token", ["abcdef.0123456789abcdeX", "abcdef.0123456789abcde0", "abcdeg.0123456789abcdef", "abcdef.", "abcdef", ""]
)
async def test_any_other_text_is_nobody(api: Any, token: str) -> None:
    await make(api)
    with pytest.raises(Unauthorized):
        user(api, token)


@pytest.mark.parametrize(
    "field",
    [
        {"usage_bootstrap_authentication": "false"},
        {"usage_bootstrap_authentication": None},
        {"auth_extra_groups": "system:masters"},
        {"auth_extra_groups": "system:bootstrappers:a,system:nodes"},
        {"expiration": "tomorrow"},
        {"token_id": "abcdeg"},
    ],
)
async def test_a_secret_that_is_not_in_order_is_no_token(api: Any, field: dict[str, str | None]) -> None:
    await make(api, **field)
    with pytest.raises(Unauthorized):
        user(api)


async def test_a_bootstrapper_may_ask_for_certificates_and_read_what_joining_needs_and_nothing_else(api: Any) -> None:
    await make(api)
    who = user(api)
    assert (await api("GET", "/api/v1/nodes/none", user=who))[0] == 404
    assert (await api("GET", "/api/v1/namespaces/kube-system/configmaps/tiphys-cluster", user=who))[0] == 404
    await api.ok("GET", "/apis/certificates.k8s.io/v1/certificatesigningrequests", user=who)
    for path in ("/api/v1/nodes", PLACE, f"{PLACE}/bootstrap-token-abcdef", "/api/v1/pods",
                 "/api/v1/namespaces/kube-system/configmaps", "/tiphys/v1/control-plane-bundle"):  # fmt: skip
        assert (await api("GET", path, user=who))[0] == 403, path


async def test_nobody_in_particular_reads_cluster_info_only(api: Any) -> None:
    place = "/api/v1/namespaces/kube-public/configmaps"
    await api.ok("POST", place, {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "x"}})
    await api.ok("POST", place, {"metadata": {"name": "other"}})
    await api.ok("GET", f"{place}/cluster-info", user=None)
    for method, path in (("GET", place), ("GET", f"{place}/other"), ("PUT", f"{place}/cluster-info")):
        assert (await api(method, path, {} if method == "PUT" else None, user=None))[0] == 401, path
