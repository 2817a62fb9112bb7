"""Frames of RFC 6455, whole and in pieces."""

from __future__ import annotations

import pytest

from tiphys.cli.websocket import Decoder, frame, masked


def test_the_frame_of_the_rfc():
    # RFC 6455, section 5.7: a masked text message "Hello".
    assert frame(b"Hello", 1, bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_001])
def test_what_is_sent_is_read_back(size):
    payload = bytes(range(256)) * (size // 256 + 1)
    assert Decoder().feed(frame(payload[:size])) == [(2, payload[:size])]


def test_bytes_may_come_one_by_one_and_messages_in_fragments():
    ping = bytes([0x89, 1]) + b"p"
    data = bytes([0x02, 2]) + b"ab" + ping + bytes([0x80, 1]) + b"c"
    decoder = Decoder()
    found = [message for at in range(len(data)) for message in decoder.feed(data[at : at + 1])]
    assert found == [(9, b"p"), (2, b"abc")]


def test_masking_twice_changes_nothing():
    assert masked(masked(b"payload", b"\x01\x02\x03\x04"), b"\x01\x02\x03\x04") == b"payload"
