from pathlib import Path

import pytest

from tiphys.node.cgroups import Cgroups, Limits, Usage, pod_path, quota, shares, weight


@pytest.mark.parametrize(("milli", "expected"), [(0, 2), (1, 2), (100, 102), (1000, 1024), (10**9, 262_144)])
def test_shares_follow_requests(milli: int, expected: int) -> None:
    assert shares(milli) == expected


def test_quota_and_weight() -> None:
    assert (quota(0), quota(1), quota(1500)) == (0, 1000, 150_000)
    assert (weight(2), weight(262_144), weight(1024)) == (1, 10_000, 39)


def test_pods_lie_by_class() -> None:
    assert pod_path("/c", "Guaranteed", "u") == "/c/kubepods/podu"
    assert pod_path("/c", "BestEffort", "u") == "/c/kubepods/besteffort/podu"


def test_v2_limits_and_usage(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    groups = Cgroups("/c", tmp_path)
    assert groups.v2
    groups.create("/c/kubepods/podu", Limits(cpu_shares=1024, cpu_quota=50_000, memory=1 << 20))
    place = tmp_path / "c/kubepods/podu"
    assert (place / "cpu.max").read_text() == "50000 100000"
    assert (place / "memory.max").read_text() == str(1 << 20)
    (place / "cpu.stat").write_text("usage_usec 5\n")
    (place / "memory.stat").write_text("anon 7\ninactive_file 4\n")
    (place / "memory.current").write_text("10\n")
    assert groups.usage("/c/kubepods/podu") == Usage(5000, 10, 6, 7)
    assert groups.pods() == {"u": "/c/kubepods/podu"}


def test_v1_limits_and_usage(tmp_path: Path) -> None:
    for name in ("cpu", "memory", "pids", "cpuacct"):
        (tmp_path / name).mkdir()
    groups = Cgroups("/c", tmp_path)
    groups.create("/c/kubepods/podu")
    groups.limit("/c/kubepods/podu", Limits(cpu_shares=512))
    assert (tmp_path / "cpu/c/kubepods/podu/cpu.shares").read_text() == "512"
    (tmp_path / "memory/c/kubepods/podu/memory.usage_in_bytes").write_text("9\n")
    assert groups.usage("/c/kubepods/podu").memory == 9
    assert groups.usage("/c/none") == Usage()


def test_the_whole_machine_is_never_the_root() -> None:
    with pytest.raises(ValueError, match="cgroup root"):
        Cgroups("/")
