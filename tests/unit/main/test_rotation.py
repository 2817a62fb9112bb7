"""Replacing the CA: what each step leaves in the files, whoever takes it, whenever, and however it is cut off."""

from __future__ import annotations

import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tiphys.kinds.core.secret import Secret
from tiphys.main import rotation
from tiphys.main.cluster import ClusterError
from tiphys.main.leaf import Leaf, fits, pem
from tiphys.main.pki import Pki, load_key
from tiphys.main.rotation import FINISH, SWITCH, TRUST, State, apply, begin, new_issuer, state_of


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path / "one")
    made.ensure("demo", {"admin": Leaf("root")})
    return made


@pytest.fixture
def other(tmp_path: Path, pki: Pki) -> Pki:
    """Another control plane of the same cluster."""
    made = Pki(tmp_path / "two")
    made.directory.mkdir()
    for name, data in pki.shared().items():
        (made.directory / name).write_bytes(data)
    return made


def at(state: State, phase: str) -> State:
    return State(phase, state.certificate, b"" if phase == FINISH else state.sealed)


def bundle(pki: Pki) -> list[bytes]:
    return [pem(each) for each in x509.load_pem_x509_certificates(pki.ca.read_bytes())]


def test_step_by_step_every_control_plane_gets_to_the_same_files(pki: Pki, other: Pki) -> None:
    old = pem(pki.read("ca"))
    state = begin(pki, "demo", time.time() + 10)
    for machine in (pki, other):
        key = machine.key("ca").read_bytes()
        assert apply(machine, state)
        assert bundle(machine) == [old, state.certificate]
        assert machine.key("ca").read_bytes() == key
        assert not apply(machine, state)
    for machine in (pki, other):
        assert apply(machine, at(state, SWITCH))
        assert bundle(machine) == [state.certificate, old]
        assert machine.issuers()["ca"].certificate == machine.read("ca")
        assert not apply(machine, at(state, SWITCH))
        assert apply(machine, at(state, FINISH))
        assert bundle(machine) == [state.certificate]
        assert not apply(machine, at(state, FINISH))
    assert pki.key("ca").read_bytes() == other.key("ca").read_bytes()


def test_who_was_away_for_a_step_takes_two_at_once(pki: Pki, other: Pki) -> None:
    state = begin(pki, "demo", time.time() + 10)
    apply(other, at(state, SWITCH))
    assert len(bundle(other)) == 2
    assert fits(other.read("ca"), load_key(other.key("ca")))


def test_the_state_of_an_earlier_rotation_which_a_backup_brought_back_is_left_alone(pki: Pki) -> None:
    first = begin(pki, "demo", time.time() + 10)
    apply(pki, at(first, SWITCH))
    apply(pki, at(first, FINISH))
    second = begin(pki, "demo", time.time() + 20)
    apply(pki, at(second, SWITCH))
    apply(pki, at(second, FINISH))
    for phase in (TRUST, SWITCH, FINISH):
        assert not apply(pki, at(first, phase))
    assert bundle(pki) == [second.certificate]


def test_who_was_away_until_the_end_must_join_again(pki: Pki, other: Pki) -> None:
    state = begin(pki, "demo", time.time() + 10)
    before = {path.name: path.read_bytes() for path in other.directory.iterdir()}
    with pytest.raises(ClusterError, match="was away while the CA was replaced"):
        apply(other, at(state, FINISH))
    assert {path.name: path.read_bytes() for path in other.directory.iterdir()} == before


def test_cut_off_between_key_and_certificate_it_signs_nothing_and_then_goes_on(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = begin(pki, "demo", time.time() + 10)
    apply(pki, state)
    write = rotation.write_private

    def cut(path: Path, data: bytes) -> None:
        if path == pki.ca:
            raise OSError("no space left on device")
        write(path, data)

    monkeypatch.setattr(rotation, "write_private", cut)
    with pytest.raises(OSError, match="no space"):
        apply(pki, at(state, SWITCH))
    assert "ca" not in pki.issuers()
    monkeypatch.setattr(rotation, "write_private", write)
    apply(pki, at(state, SWITCH))
    assert pem(pki.issuers()["ca"].certificate) == state.certificate


def test_the_new_key_is_readable_with_the_old_one_only(pki: Pki, tmp_path: Path) -> None:
    state = begin(pki, "demo", time.time() + 10)
    assert b"PRIVATE" not in state.sealed
    assert fits(new_issuer(pki, state).certificate, new_issuer(pki, state).key)
    stranger = Pki(tmp_path / "stranger")
    stranger.ensure("demo", {})
    with pytest.raises(ClusterError):
        new_issuer(stranger, state)


@pytest.mark.parametrize("phase", [TRUST, SWITCH, FINISH])
def test_a_state_is_read_as_it_was_written(pki: Pki, phase: str) -> None:
    state = at(begin(pki, "demo", time.time() + 10), phase)
    data = {name: b64decode(value) for name, value in state.secret()["data"].items()}
    assert state_of(Secret(data=data)) == state


@pytest.mark.parametrize("data", [{}, {"phase": b"later", "certificate": b"x"}, {"phase": b"trust"}])
def test_what_another_version_wrote_is_left_alone(data: dict[str, Any]) -> None:
    assert state_of(Secret(data=data)) is None
