"""The sandbox ("pause") program, made here so that no download is needed: a static ELF of a few hundred bytes.

As PID 1 of a pod it blocks SIGINT, SIGTERM and SIGCHLD, then waits for them one by one: the first two end it with
status 0, the third makes it reap every child that has exited (pods that share a process namespace need that).
Blocking matters: the kernel drops unblocked signals without a handler for PID 1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

_SIGINT, _SIGTERM, _SIGCHLD = 2, 15, 17
_MASK = 1 << (_SIGINT - 1) | 1 << (_SIGTERM - 1) | 1 << (_SIGCHLD - 1)
_BASE = 0x400000
_HEADERS = 64 + 56
_MACHINES = {"amd64": 62, "arm64": 183}

# A program is a list of parts: bytes, a label (str), or a jump to a label, given the distance from its own start.
_Jump = tuple[str, int, Callable[[int], bytes]]
_Part = bytes | str | _Jump


def _link(parts: Sequence[_Part]) -> bytes:
    places: dict[str, int] = {}
    size = 0
    for part in parts:
        if isinstance(part, str):
            places[part] = size
        else:
            size += len(part) if isinstance(part, bytes) else part[1]
    code = b""
    for part in parts:
        if isinstance(part, bytes):
            code += part
        elif not isinstance(part, str):
            code += part[2](places[part[0]] - len(code))
    return code


def _amd64() -> bytes:
    def jump(opcode: int, label: str) -> _Jump:
        return label, 2, lambda distance: struct.pack("<Bb", opcode, distance - 2)

    def syscall(number: int) -> bytes:
        return b"\x68" + struct.pack("<I", number) + b"\x58\x0f\x05"  # push; pop rax; syscall

    def compare(signal: int) -> bytes:
        return bytes([0x83, 0xF8, signal])  # cmp eax, signal

    je, jne, jg, always = 0x74, 0x75, 0x7F, 0xEB
    eight = b"\x6a\x08\x41\x5a"  # push 8; pop r10: the size of a signal set
    return _link([
        b"\x68" + struct.pack("<I", _MASK),  # push the signal set; rsp points to it from here on
        b"\x31\xff\x48\x89\xe6\x31\xd2", eight, syscall(14),  # rt_sigprocmask(SIG_BLOCK, rsp, 0, 8)
        "wait", b"\x48\x89\xe7\x31\xf6\x31\xd2", eight, syscall(128),  # rt_sigtimedwait(rsp, 0, 0, 8)
        compare(_SIGCHLD), jump(je, "reap"),
        compare(_SIGINT), jump(je, "exit"),
        compare(_SIGTERM), jump(jne, "wait"),
        "exit", b"\x31\xff", syscall(60),  # exit(0)
        "reap", b"\x6a\xff\x5f\x31\xf6\x6a\x01\x5a\x45\x31\xd2", syscall(61),  # wait4(-1, 0, WNOHANG, 0)
        b"\x85\xc0", jump(jg, "reap"), jump(always, "wait"),
    ])  # fmt: skip


def _arm64() -> bytes:
    def word(value: int) -> bytes:
        return struct.pack("<I", value)

    def move(register: int, value: int) -> bytes:
        return word(0xD2800000 | value << 5 | register)

    def compare(value: int) -> bytes:
        return word(0x7100001F | value << 10)  # cmp w0, value

    def branch(condition: int, label: str) -> _Jump:
        return label, 4, lambda distance: word(0x54000000 | (distance // 4 & 0x7FFFF) << 5 | condition)

    def syscall(number: int) -> bytes:
        return move(8, number) + word(0xD4000001)

    eq, ne, gt, always = 0, 1, 12, 14
    return _link([
        word(0xD10043FF), move(9, _MASK & 0xFFFF), word(0xF2A00009 | _MASK >> 16 << 5), word(0xF90003E9),
        move(0, 0), word(0x910003E1), move(2, 0), move(3, 8), syscall(135),  # rt_sigprocmask
        "wait", word(0x910003E0), move(1, 0), move(2, 0), move(3, 8), syscall(137),  # rt_sigtimedwait
        compare(_SIGCHLD), branch(eq, "reap"),
        compare(_SIGINT), branch(eq, "exit"),
        compare(_SIGTERM), branch(ne, "wait"),
        "exit", move(0, 0), syscall(93),
        "reap", word(0x92800000), move(1, 0), move(2, 1), move(3, 0), syscall(260),  # wait4(-1, 0, WNOHANG, 0)
        compare(0), branch(gt, "reap"), branch(always, "wait"),
    ])  # fmt: skip


def program(architecture: str) -> bytes:
    """The executable for `amd64` or `arm64` (Go's names, as images use them); ValueError for any other."""
    makers = {"amd64": _amd64, "arm64": _arm64}
    if architecture not in makers:
        raise ValueError(f"no pause program for {architecture}: use amd64 or arm64, or give a sandbox image")
    code = makers[architecture]()
    size = _HEADERS + len(code)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, _MACHINES[architecture], 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code
