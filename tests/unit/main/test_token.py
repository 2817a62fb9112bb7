"""Join tokens: one string, read back whole or refused, and what is made of it in the cluster."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest

from tiphys.api.errors import NotFound
from tiphys.api.time import seconds
from tiphys.main import admin, token
from tiphys.main import cluster as places
from tiphys.main.cluster import Cluster, ClusterError, Settings
from tiphys.main.pki import Pki, pin_of
from tiphys.main.token import JoinToken, parse


class Api:
    """Keeps Secrets as the API server would."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}

    def __call__(self, cluster: Cluster, method: str, path: str, body: Any = None) -> Any:
        name = path.rpartition("/")[2]
        if method == "POST":
            data = {key: b64encode(value.encode()).decode() for key, value in body["stringData"].items()}
            self.secrets[body["metadata"]["name"]] = {**body, "data": data}
        elif method == "DELETE":
            if self.secrets.pop(name, None) is None:
                raise NotFound(name)
        else:
            assert "?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken" in path
            return {"items": list(self.secrets.values())}
        return {}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    for name in ("_STATE", "_RUN", "_ETC"):
        monkeypatch.setattr(places, name, tmp_path / name.strip("_").lower())
    made = Api()
    monkeypatch.setattr(admin, "call", made)
    cluster = Cluster("demo")
    cluster.save(Settings("demo", 0, 6443, 10250, "192.0.2.7", "first"))
    Pki(cluster.pki).ensure("demo", {})
    return made


def test_a_token_is_read_as_it_is_printed() -> None:
    made = JoinToken("abcdef", "0123456789abcdef", "0" * 64)
    assert parse(f" {made}\n") == made
    assert made.bearer == "abcdef.0123456789abcdef"
    assert "0123456789abcdef" not in repr(made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abcdef.0123456789abcdef",
        "abcdef.0123456789abcdef:",
        "ABCDEF.0123456789abcdef:" + "0" * 64,
        "abcdef.0123456789abcdef:" + "0" * 63,
        "x:" + "0" * 64,
    ],
)
def test_what_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="copy it whole"):
        parse(text)


def test_the_command_that_is_printed_joins_with_the_token_that_was_made(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert token.token(["create", "demo", "--print-join-command", "--ttl", "2h"]) == 0
    words = capsys.readouterr().out.split()
    assert words[:4] == ["tiphys", "agent", "--server", "https://192.0.2.7:6443"]
    made = parse(words[-1])
    assert made.pin == pin_of(Pki(Cluster("demo").pki).ca.read_bytes())
    data = api.secrets[f"bootstrap-token-{made.id}"]["stringData"]
    assert data["token-secret"] == made.secret
    assert "auth-extra-groups" not in data
    assert seconds(data["expiration"]) > 0


def test_a_control_planes_token_has_the_group_that_may_read_keys(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert token.token(["create", "demo", "--control-plane", "-o", "json"]) == 0
    shown = orjson.loads(capsys.readouterr().out)
    assert shown["command"] == f"tiphys server --join https://192.0.2.7:6443 --token {shown['token']}"
    data = api.secrets[f"bootstrap-token-{shown['id']}"]["stringData"]
    assert data["auth-extra-groups"] == "system:bootstrappers:tiphys:control-plane"


def test_tokens_are_listed_without_their_secrets_and_deleted(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    token.token(["create", "demo", "-o", "json"])
    made = parse(orjson.loads(capsys.readouterr().out)["token"])
    for words in (["list", "demo"], ["list", "demo", "-o", "json"]):
        assert token.token(words) == 0
        shown = capsys.readouterr().out
        assert made.id in shown
        assert made.secret not in shown
    assert token.token(["delete", str(made), "demo"]) == 0
    assert api.secrets == {}
    assert token.token(["delete", made.id, "demo"]) == 1
    assert "tiphys token list demo" in capsys.readouterr().err


@pytest.mark.parametrize("ttl", ["0h", "30s", "400d", "1w", "x", "-1h"])
def test_a_life_that_makes_no_sense_is_refused(api: Api, ttl: str) -> None:
    with pytest.raises(SystemExit):
        token.token(["create", "demo", f"--ttl={ttl}"])
    assert api.secrets == {}


def test_a_cluster_that_is_not_there_is_said(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert token.token(["create", "other"]) == 1
    assert "there is no cluster 'other'" in capsys.readouterr().err
