"""What the specs of CDI devices put into a container."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tiphys.kubelet.cdi import Edits, NoSuchDevice, edits, knows_cdi
from tiphys.kubelet.runtime import DeviceNode, Mount


def write(directory: Path, name: str, **spec: object) -> None:
    directory.mkdir(exist_ok=True)
    whole = {"cdiVersion": "0.6.0", "kind": "example.com/gpu", **spec}
    (directory / name).write_bytes(msgspec.yaml.encode(whole) if name.endswith("yaml") else msgspec.json.encode(whole))


async def test_a_device_brings_its_own_edits_and_once_those_of_its_spec(tmp_path: Path) -> None:
    write(tmp_path, "gpu.yaml", containerEdits={"env": ["DRIVER=5", "BOTH=spec"]}, devices=[
        {"name": "0", "containerEdits": {
            "env": ["BOTH=device=0"], "deviceNodes": [{"path": "/dev/gpu0", "permissions": "rw"}],
        }},
        {"name": "1", "containerEdits": {
            "deviceNodes": [{"path": "/dev/gpu1", "hostPath": "/dev/other"}],
            "mounts": [{"hostPath": "/lib/gpu", "containerPath": "/usr/lib/gpu", "options": ["ro", "nosuid"]}],
        }},
    ])  # fmt: skip
    assert await edits(["example.com/gpu=0", "example.com/gpu=1"], [tmp_path]) == Edits(
        (("DRIVER", "5"), ("BOTH", "device=0")),
        (DeviceNode("/dev/gpu0", "/dev/gpu0", "rw"), DeviceNode("/dev/gpu1", "/dev/other")),
        (Mount("/usr/lib/gpu", "/lib/gpu", readonly=True),),
    )


async def test_the_later_directory_counts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "gpu.json", devices=[{"name": "0", "containerEdits": {"env": [f"FROM={name}"]}}])
    found = await edits(["example.com/gpu=0"], [tmp_path / "one", tmp_path / "two", tmp_path / "none"])
    assert found.env == (("FROM", "two"),)


async def test_without_devices_nothing_is_read() -> None:
    assert await edits([], [Path("/nowhere")]) == Edits()


async def test_what_cannot_be_followed_is_an_error(tmp_path: Path) -> None:
    hook = {"hooks": [{"hookName": "createContainer", "path": "/bin/ldconfig"}]}
    write(tmp_path, "gpu.json", devices=[{"name": "0", "containerEdits": hook}])
    with pytest.raises(NoSuchDevice, match=r"example.com/gpu=0 need hooks, which this container runtime cannot do"):
        await edits(["example.com/gpu=0"], [tmp_path])
    with pytest.raises(NoSuchDevice, match=r"unresolvable CDI devices example.com/gpu=1"):
        await edits(["example.com/gpu=1"], [tmp_path])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(NoSuchDevice, match=r"broken\.json"):
        await edits(["example.com/gpu=0"], [tmp_path])


@pytest.mark.parametrize(
    ("name", "version", "knows"),
    [
        ("containerd", "1.6.20", False), ("containerd", "v2.0.1", True), ("containerd", "", False),
        ("cri-o", "1.30", True),
    ],
)  # fmt: skip
def test_which_runtimes_know_cdi(name: str, version: str, knows: bool) -> None:
    assert knows_cdi(name, version) is knows
