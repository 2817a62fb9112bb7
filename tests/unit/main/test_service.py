"""The systemd unit: what systemd thinks of it, and that it is put in and taken away."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tiphys.main import service
from tiphys.main.cluster import Cluster, ClusterError


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "tiphys-demo.service"
    path.write_text(service.unit("demo", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class Systemd:
    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.units, self.said = directory / "units", directory / "said"
        self.units.mkdir()
        programs = directory / "bin"
        programs.mkdir()
        (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {self.said}\necho "$ANSWER"\nexit ${{CODE:-0}}\n')
        (programs / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        monkeypatch.setattr(service, "_UNITS", self.units)
        monkeypatch.setattr(service, "_BOOTED", self.units)

    def asked(self) -> list[str]:
        found = self.said.read_text().splitlines()
        self.said.unlink()
        return found


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    return Systemd(tmp_path, monkeypatch)


def test_it_is_enabled_and_taken_away_again(systemd: Systemd) -> None:
    cluster = Cluster("shop")
    service.install(cluster)
    assert "keep shop" in (systemd.units / "tiphys-shop.service").read_text()
    assert systemd.asked() == ["daemon-reload", "enable --now tiphys-shop.service"]
    assert service.remove(cluster)
    assert systemd.asked() == ["disable --now tiphys-shop.service", "daemon-reload"]
    assert not list(systemd.units.iterdir())
    assert not service.remove(cluster)


def test_a_refusal_is_told(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "1")
    monkeypatch.setenv("ANSWER", "no such bus")
    with pytest.raises(ClusterError, match="daemon-reload` failed: no such bus"):
        service.install(Cluster("shop"))


@pytest.mark.parametrize(("answer", "stops"), [("running", False), ("degraded", False), ("stopping", True)])
def test_whether_the_machine_goes_down(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, answer: str, stops: bool
) -> None:  # fmt: skip
    monkeypatch.setenv("ANSWER", answer)
    assert service.machine_stops() == stops


def test_without_systemd_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "_BOOTED", tmp_path / "none")
    with pytest.raises(ClusterError, match="keep shop"):
        service.install(Cluster("shop"))
