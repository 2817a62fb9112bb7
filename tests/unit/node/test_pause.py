import os
import platform
import signal
import subprocess
from pathlib import Path

import pytest

from tiphys.node import pause


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_program_is_an_elf_of_its_machine_and_small(architecture: str, machine: int) -> None:
    program = pause.program(architecture)
    assert program[:4] == b"\x7fELF"
    assert int.from_bytes(program[18:20], "little") == machine
    assert len(program) < 400


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        pause.program("riscv64")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs the amd64 program")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_and_ends_well_on_a_signal(tmp_path: Path, number: int) -> None:
    path = tmp_path / "pause"
    path.write_bytes(pause.program("amd64"))
    path.chmod(0o755)
    process = subprocess.Popen([path])
    # SIGCHLD wakes it to reap; it must go on waiting.
    while "sigtimedwait" not in Path(f"/proc/{process.pid}/wchan").read_text() and not _blocks(process.pid, number):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGCHLD)
    os.kill(process.pid, number)
    assert process.wait(10) == 0


def _blocks(pid: int, number: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    return bool(mask & 1 << (number - 1))
