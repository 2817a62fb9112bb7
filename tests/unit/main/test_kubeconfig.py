"""The user's kubeconfig when the commands of several clusters run at once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tiphys.main import kubeconfig
from tiphys.main.cluster import Cluster


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    return tmp_path / ".kube" / "config"


def _entry(cluster: Cluster, _: object) -> dict[str, object]:
    name, user = cluster.name, f"{cluster.name}-admin"
    return {
        "clusters": [{"name": name, "cluster": {}}],
        "users": [{"name": user, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
    }


def test_commands_that_run_at_once_keep_what_the_others_wrote(config: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubeconfig, "entry", _entry)
    names = [f"c{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: kubeconfig.merge_into_home(Cluster(name), None), names))
        assert {context["name"] for context in yaml.safe_load(config.read_text())["contexts"]} == set(names)
        list(threads.map(lambda name: kubeconfig.remove_from_home(Cluster(name)), names[:-1]))
    left = yaml.safe_load(config.read_text())
    assert [context["name"] for context in left["contexts"]] == [names[-1]] == [left["current-context"]]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_what_the_user_has_is_kept(config: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubeconfig, "entry", _entry)
    config.parent.mkdir()
    config.write_text(yaml.safe_dump({"contexts": [{"name": "work"}], "current-context": "work", "preferences": {}}))
    assert kubeconfig.merge_into_home(Cluster("dev"), None) == "work"
    kubeconfig.remove_from_home(Cluster("dev"))
    left = yaml.safe_load(config.read_text())
    assert left["contexts"] == [{"name": "work"}]
    assert left["current-context"] == "work"
    assert left["preferences"] == {}


def test_nothing_is_written_where_there_is_nothing_to_remove(config: Path):
    kubeconfig.remove_from_home(Cluster("dev"))
    assert not config.parent.exists()
