"""kubeconfig: merging, the flags that overrule it, and its cache."""

from __future__ import annotations

import os

import pytest

from tiphys.cli import config
from tiphys.cli.config import Connection
from tiphys.cli.errors import CliError

ONE = """
current-context: c1
clusters: [{name: k, cluster: {server: "https://one", certificate-authority: ca.crt}}]
contexts: [{name: c1, context: {cluster: k, user: u, namespace: ns}}]
users: [{name: u, user: {token: t1}}]
"""
TWO = """
current-context: c2
clusters: [{name: k, cluster: {server: "https://two"}}, {name: k2, cluster: {server: "https://three"}}]
contexts: [{name: c2, context: {cluster: k2, user: u2}}]
users: [{name: u2, user: {username: a, password: b}}]
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(ONE)
    two.write_text(TWO)
    monkeypatch.setenv("KUBECONFIG", f"{one}{os.pathsep}{tmp_path / 'absent'}{os.pathsep}{two}")
    return tmp_path


def test_the_first_file_wins_and_all_are_read(files):
    merged = config.load()
    assert merged.current == "c1"
    assert merged.clusters["k"]["server"] == "https://one"
    assert sorted(merged.contexts) == ["c1", "c2"]
    assert merged.clusters["k"]["certificate-authority"] == str(files / "ca.crt")


def test_flags_overrule(files):
    plain = Connection(config.load(), {})
    assert (plain.server, plain.namespace, plain.user["token"]) == ("https://one", "ns", "t1")
    other = Connection(config.load(), {"context": "c2", "namespace": "x", "token": "t2", "server": "https://s"})
    assert (other.server, other.namespace, other.user["token"]) == ("https://s", "x", "t2")


def test_names_that_are_not_there(files):
    with pytest.raises(CliError, match="context was not found for specified context: nope"):
        Connection(config.load(), {"context": "nope"})
    with pytest.raises(CliError, match='auth info "nope" does not exist'):
        Connection(config.load(), {"user": "nope"})
    with pytest.raises(CliError, match="no such file"):
        config.load(str(files / "absent"))


def test_a_changed_file_is_read_again(files):
    assert config.load().current == "c1"
    (files / "one").write_text(ONE.replace("current-context: c1", "current-context: c2"))
    assert config.load().current == "c2"


def test_the_cache_is_the_owners_alone(files):
    config.load()
    cached = list((files / ".kube" / "cache" / "tiphys" / "kubeconfig").iterdir())
    assert cached
    assert {path.stat().st_mode & 0o777 for path in cached} == {0o600}
