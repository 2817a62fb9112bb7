"""CNI configuration, the record of side effects, paths below a root, and daemons."""

import os
import signal
from pathlib import Path

import orjson
import pytest

from tiphys.node import cni, mounts, process
from tiphys.node.record import Effect, Record


def test_the_conflist_is_written_once(tmp_path: Path) -> None:
    network = cni.PodNetwork("demo", ["10.1.0.0/24", "fd00::/64"], mtu=1450)
    assert cni.write(network, tmp_path, tmp_path / "ipam")
    assert not cni.write(network, tmp_path, tmp_path / "ipam")
    [path] = tmp_path.glob("*.conflist")
    bridge = orjson.loads(path.read_bytes())["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]
    assert len(bridge["bridge"]) <= 15
    cni.remove(tmp_path)
    assert not list(tmp_path.glob("*.conflist"))


def test_the_record_survives_a_torn_line(tmp_path: Path) -> None:
    record = Record(tmp_path / "record")
    record.add("link", "tph-none")
    record.add("link", "tph-none")
    with (tmp_path / "record").open("ab") as file:
        file.write(b'{"kind":"li')
    assert record.effects() == [Effect("link", "tph-none")]
    assert record.undo() == []
    assert record.effects() == []
    with pytest.raises(ValueError, match="effect 'x'"):
        record.add("x", "y")


def test_paths_do_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    (root / "in").mkdir()
    (root / "link").symlink_to("in")
    assert mounts.resolve_beneath(str(root), "link") == str(root / "in")
    for path in ("out/passwd", "../x", "out"):
        with pytest.raises(OSError, match="below"):
            mounts.resolve_beneath(str(root), path)
    assert mounts.make_beneath(str(root), "a/b") == str(root / "a/b")
    with pytest.raises(OSError, match="below"):
        mounts.make_beneath(str(root), "out/new")


async def test_a_daemon_is_known_by_its_start(tmp_path: Path) -> None:
    identity = process.spawn(["sleep", "1000"], tmp_path / "log")
    identity.save(tmp_path / "pid")
    assert process.load(tmp_path / "pid") == identity
    assert os.getsid(identity.pid) == identity.pid
    assert process.load(tmp_path / "none") is None
    (tmp_path / "pid").write_text(f"{identity.pid} 1\n")
    assert process.load(tmp_path / "pid") is None
    identity.signal(signal.SIGTERM)
    await identity.wait()
    assert not identity.alive
