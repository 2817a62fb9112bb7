"""Exec's channels: which streams the runtime gets, and how messages of each sub-protocol are read."""

from __future__ import annotations

import pytest
from aiohttp import WSMessage, WSMsgType

from tiphys.kubelet.runtime import ExecOptions
from tiphys.kubelet.server.remote_command import DIALECTS, channels, unpack

V5, BASE64 = DIALECTS["v5.channel.k8s.io"], DIALECTS["v4.base64.channel.k8s.io"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ExecOptions(("ls",)), [3, 1, 2]),
        (ExecOptions(("cat",), stdin=True), [3, 0, 1, 2]),
        (ExecOptions(("sh",), stdin=True, tty=True), [3, 0, 1, 4]),
        (ExecOptions(("ls",), stdout=False, stderr=False), [3]),
    ],
)
def test_a_stream_for_each_channel_that_is_asked_for(options, expected):
    assert channels(options) == expected


def test_a_message_begins_with_its_channel():
    assert unpack(WSMessage(WSMsgType.BINARY, b"\x00hello", None), V5) == (0, b"hello")
    assert unpack(WSMessage(WSMsgType.BINARY, b"\xff\x00", None), V5) == (255, b"\0")
    assert unpack(WSMessage(WSMsgType.TEXT, "\x00hello", None), V5) == (0, b"hello")
    assert unpack(WSMessage(WSMsgType.TEXT, "0aGVsbG8=", None), BASE64) == (0, b"hello")


@pytest.mark.parametrize(("data", "dialect"), [(b"", V5), (b"0!", BASE64)])
def test_what_is_no_message_is_refused(data, dialect):
    with pytest.raises(ValueError, match="a message"):
        unpack(WSMessage(WSMsgType.BINARY, data, None), dialect)


def test_only_v5_can_end_input():
    assert [name for name, dialect in DIALECTS.items() if dialect.half_close] == ["v5.channel.k8s.io"]
