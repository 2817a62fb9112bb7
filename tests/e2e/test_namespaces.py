"""The namespaces of a node inside this machine: what is seen there, and that they last without a process."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.node import mounts, namespaces, netns
from tiphys.node.namespaces import Inside

pytestmark = pytest.mark.root

_ENTER = """\
import subprocess, sys
from pathlib import Path
from tiphys.node import mounts, namespaces
namespaces.enter(Path(sys.argv[1]), Path(sys.argv[2]))
exec(sys.argv[3])
"""


@pytest.fixture
def net() -> Iterator[str]:
    name = f"ns-{secrets.token_hex(3)}"
    asyncio.run(netns.create(name))
    yield name
    asyncio.run(netns.delete(name))


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "ns"
    mounts.unmount_below(str(tmp_path / "ns"))


def inside(net: str, pins: Path, code: str) -> str:
    """What a process says that enters and runs some code."""
    command = [sys.executable, "-c", _ENTER, str(netns.path(net)), str(pins), code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_node_sees_its_own_name_files_and_links(net, pins, tmp_path):
    assert not namespaces.pinned(pins)
    (tmp_path / "file").write_text("the machine's")
    (tmp_path / "own").write_text("the node's")
    namespaces.make(pins, Inside("node-two", files={str(tmp_path / "file"): str(tmp_path / "own")}))
    assert namespaces.pinned(pins)
    assert inside(net, pins, "import socket; print(socket.gethostname())") == "node-two"
    assert inside(net, pins, f"print(open('{tmp_path}/file').read())") == "the node's"
    assert inside(net, pins, "import socket; print([name for _, name in socket.if_nameindex()])") == "['lo']"
    assert (tmp_path / "file").read_text() == "the machine's"
    assert socket.gethostname() != "node-two"


def test_what_is_mounted_inside_stays_there(net, pins, tmp_path):
    (tmp_path / "place").mkdir()
    namespaces.make(pins, Inside("node"))
    inside(net, pins, f"mounts.tmpfs('{tmp_path}/place'); open('{tmp_path}/place/mark', 'w')")
    assert inside(net, pins, f"print(Path('{tmp_path}/place/mark').exists())") == "True"
    assert not (tmp_path / "place" / "mark").exists()
    assert mounts.mounted(str(tmp_path / "place")) == []


def test_mounts_of_other_nodes_are_not_taken_along(net, pins, tmp_path):
    (tmp_path / "other").mkdir()
    mounts.tmpfs(str(tmp_path / "other"))
    try:
        namespaces.make(pins, Inside("node", forget=[str(tmp_path / "other")]))
        assert inside(net, pins, f"print(mounts.mounted('{tmp_path}/other'))") == "[]"
        assert len(mounts.mounted(str(tmp_path / "other"))) == 1
    finally:
        mounts.unmount(str(tmp_path / "other"))


def test_unmounting_the_pins_ends_them(net, pins):
    namespaces.make(pins, Inside("node"))
    mounts.unmount_below(str(pins))
    assert not namespaces.pinned(pins)
    with pytest.raises(subprocess.CalledProcessError):
        inside(net, pins, "print()")


@pytest.mark.parametrize("processor", sorted(os.sched_getaffinity(0)))
@pytest.mark.parametrize("propagation", ["private", "shared"])
def test_they_are_pinned_in_a_container_too(pins, processor, propagation):
    """A container has a mount namespace that is not the machine's first, made on any processor."""
    made = f"namespaces.make(Path('{pins}'), namespaces.Inside('n')); print(namespaces.pinned(Path('{pins}')))"
    code = f"from pathlib import Path; from tiphys.node import namespaces; {made}"
    everywhere = f"import os; os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))}); "
    container = ["taskset", "-c", str(processor), "unshare", "--mount", "--propagation", "private"]
    shell = ["sh", "-c", f'mount --make-r{propagation} / && exec "$@"', "sh"]
    command = [*container, *shell, sys.executable, "-c", everywhere + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
