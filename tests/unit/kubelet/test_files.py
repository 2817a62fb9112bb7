"""What the kubelet writes and reads on disk: atomic volumes, volumes' set-up, messages, logs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import pod_files
from tiphys.kubelet.fields import Facts
from tiphys.kubelet.runtime import MESSAGE_POLICY, Container, State
from tiphys.kubelet.server.log_files import LogOptions, read
from tiphys.kubelet.volumes import atomic
from tiphys.kubelet.volumes.payload import File
from tiphys.kubelet.volumes.setup import Inputs, VolumeError, Volumes


def test_updates_show_all_at_once_and_leave_nothing_old(tmp_path: Path) -> None:
    place = tmp_path / "v"
    atomic.write(place, {"a": File(b"1", 0o644), "sub/b": File(b"2", 0o600)})
    assert ((place / "a").read_bytes(), (place / "sub/b").read_bytes()) == (b"1", b"2")
    assert stat.S_IMODE((place / "sub/b").stat().st_mode) == 0o600
    first = os.readlink(place / "..data")
    atomic.write(place, {"a": File(b"3", 0o644), "c": File(b"4", 0o644)})
    assert sorted(name for name in os.listdir(place) if not name.startswith("..")) == ["a", "c"]
    assert (place / "a").read_bytes() == b"3"
    assert not (place / first).exists()


@pytest.mark.parametrize("name", ["../x", "/x", "..x/y", "a/../../b"])
def test_keys_cannot_leave_the_volume(tmp_path: Path, name: str) -> None:
    with pytest.raises(atomic.BadPath):
        atomic.write(tmp_path / "v", {name: File(b"", 0o644)})


def pod(*volumes: dict[str, Any], mounts: list[dict[str, Any]] | None = None) -> Pod:
    container = {"name": "a", "volumeMounts": mounts or []}
    body = {"metadata": {"name": "p", "namespace": "d", "uid": "u"}}
    return msgspec.convert({**body, "spec": {"containers": [container], "volumes": list(volumes)}}, Pod)


def inputs(data: dict[str, dict[str, bytes]]) -> Inputs:
    return Inputs(lambda kind, name: data.get(name), Facts(), lambda projection: "token")


async def test_volumes_are_made_kept_current_and_taken_away(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "root", tmp_path / "run", tmp_path / "volumes")
    one = pod({"name": "c", "configMap": {"name": "conf"}}, {"name": "e", "emptyDir": {}})
    paths = await volumes.prepare(one, inputs({"conf": {"k": b"1"}}))
    Path(paths["e"], "kept").touch()
    paths = await volumes.prepare(one, inputs({"conf": {"k": b"2"}}))
    assert Path(paths["c"], "k").read_bytes() == b"2"
    assert Path(paths["e"], "kept").exists()
    assert stat.S_IMODE(os.stat(paths["e"]).st_mode) == 0o777
    assert volumes.known() == {"u"}
    await volumes.release("u")
    assert volumes.known() == set()


async def test_a_missing_source_names_volume_and_object(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "root", tmp_path / "run", tmp_path / "volumes")
    with pytest.raises(VolumeError, match=r'volume "c" : configmap "conf" not found'):
        await volumes.prepare(pod({"name": "c", "configMap": {"name": "conf"}}), inputs({}))


async def test_host_paths_are_checked(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "root", tmp_path / "run", tmp_path / "volumes")
    (tmp_path / "file").touch()
    wrong = pod({"name": "h", "hostPath": {"path": str(tmp_path / "file"), "type": "Directory"}})
    with pytest.raises(VolumeError, match="is not a directory"):
        await volumes.prepare(wrong, inputs({}))
    made = pod({"name": "h", "hostPath": {"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}})
    assert await volumes.prepare(made, inputs({})) == {"h": str(tmp_path / "new")}
    assert (tmp_path / "new").is_dir()


async def test_a_sub_path_may_not_climb(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "root", tmp_path / "run", tmp_path / "volumes")
    one = pod({"name": "e", "emptyDir": {}}, mounts=[{"name": "e", "mountPath": "/m", "subPath": "../../x"}])
    paths = await volumes.prepare(one, inputs({}))
    with pytest.raises(VolumeError, match="subPath"):
        await volumes.mounts_of(one, one.spec.containers[0], paths, {})


def ended(code: int, log: Path, policy: str = "File") -> Container:
    return Container(
        "c", "s", "u", "a", 0, State.EXITED, exit_code=code, log_path=str(log), annotations={MESSAGE_POLICY: policy}
    )


def test_termination_messages(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    stamp = "2026-01-01T00:00:00Z"
    log.write_text(f"{stamp} stdout F first\n{stamp} stderr P la\n{stamp} stderr F st\n")
    assert pod_files.termination_message(tmp_path, ended(1, log)) == ""
    assert pod_files.termination_message(tmp_path, ended(1, log, "FallbackToLogsOnError")) == "first\nlast\n"
    assert pod_files.termination_message(tmp_path, ended(0, log, "FallbackToLogsOnError")) == ""
    path = pod_files.message_path(tmp_path, "a", 0)
    path.parent.mkdir(parents=True)
    path.write_text("said")
    assert pod_files.termination_message(tmp_path, ended(0, log)) == "said"


LOG = (
    "2026-01-01T00:00:00.5Z stdout F one\n2026-01-01T00:00:01Z stderr P tw\n2026-01-01T00:00:01Z stderr F o\n"
    "2026-01-01T00:00:02Z stdout F three\n"
)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (LogOptions(), "one\ntwo\nthree\n"),
        (LogOptions(tail=1), "three\n"),
        (LogOptions(tail=0), ""),
        (LogOptions(tail=99), "one\ntwo\nthree\n"),
        (LogOptions(limit=5), "one\nt"),
        (LogOptions(stream="Stderr"), "two\n"),
        (LogOptions(since=1767225602.0), "three\n"),
        (LogOptions(timestamps=True, tail=1), "2026-01-01T00:00:02Z three\n"),
    ],
)
async def test_log_options(tmp_path: Path, options: LogOptions, text: str) -> None:
    path = tmp_path / "0.log"
    path.write_text(LOG)
    assert b"".join([block async for block in read(path, options, lambda: False)]).decode() == text


async def test_rotated_logs_come_first(tmp_path: Path) -> None:
    (tmp_path / "0.log.20260101-000000").write_text("2026-01-01T00:00:00Z stdout F old\n")
    (tmp_path / "0.log").write_text("2026-01-01T00:00:01Z stdout F new\n")
    blocks = [block async for block in read(tmp_path / "0.log", LogOptions(), lambda: False)]
    assert b"".join(blocks) == b"old\nnew\n"
