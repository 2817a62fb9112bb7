"""SPDY/3.1 frames: what goes out is what the protocol says, and what comes in may come in any pieces."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.kubelet.server import spdy
from tiphys.kubelet.server.spdy import Decoder, Encoder, Frame, Kind, SpdyFault


def headers(block: bytes) -> dict[str, str]:
    words, at = [], 4
    while at < len(block):
        size = int.from_bytes(block[at : at + 4], "big")
        words.append(block[at + 4 : at + 4 + size].decode())
        at += 4 + size
    assert int.from_bytes(block[:4], "big") * 2 == len(words)
    return dict(zip(words[::2], words[1::2], strict=True))


def test_the_dictionary_is_that_of_the_protocol():
    assert len(spdy.DICTIONARY) == 1423
    # Its Adler-32 stands in every header block, so the other end tells at once if it has another.
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_streams_are_opened_with_headers_of_one_compression():
    encoder, inflate = Encoder(), zlib.decompressobj(zdict=spdy.DICTIONARY)
    for stream, name in ((1, "error"), (3, "stdin")):
        frame = encoder.open(stream, {"StreamType": name})
        assert frame[:4] == bytes.fromhex("80030001")
        assert int.from_bytes(frame[5:8], "big") == len(frame) - 8
        assert (int.from_bytes(frame[8:12], "big"), frame[12:18]) == (stream, bytes(6))
        assert headers(inflate.decompress(frame[18:])) == {"streamtype": name}


def test_data_and_pings_have_the_protocols_form():
    assert spdy.data(5, b"ab") == bytes.fromhex("00000005 00 000002") + b"ab"
    assert spdy.data(5, b"", fin=True) == bytes.fromhex("00000005 01 000000")
    assert spdy.ping(2) == bytes.fromhex("80030006 00 000004 00000002")


@given(st.lists(st.integers(1, 40), max_size=30))
def test_frames_come_in_any_pieces(cuts):
    reply = bytes.fromhex("80030002 00 000006 00000003 0000")
    window = bytes.fromhex("80030009 00 000008 00000003 00001000")
    away = bytes.fromhex("80030007 00 000008 00000000 00000000")
    whole = reply + spdy.data(3, b"hello") + spdy.ping(2) + window + spdy.data(5, b"x" * 50, fin=True)
    whole += spdy.data(3, b"", fin=True) + away
    decoder, frames, at = Decoder(), [], 0
    for cut in (*cuts, len(whole)):
        frames += decoder.feed(whole[at : at + cut])
        at += cut
    kinds = [frame.kind for frame in frames if frame.kind is not Kind.DATA]
    assert kinds == [Kind.OTHER, Kind.PING, Kind.OTHER, Kind.GOAWAY]
    data = [frame for frame in frames if frame.kind is Kind.DATA]
    assert b"".join(frame.payload for frame in data if frame.stream == 3) == b"hello"
    assert b"".join(frame.payload for frame in data if frame.stream == 5) == b"x" * 50
    assert [frame.stream for frame in data if frame.fin] == [5, 3]


def test_a_long_frame_is_passed_on_before_it_is_whole():
    decoder = Decoder()
    frame = spdy.data(5, b"abcdef", fin=True)
    assert list(decoder.feed(frame[:10])) == [Frame(Kind.DATA, 5, b"ab", False)]
    assert list(decoder.feed(frame[10:])) == [Frame(Kind.DATA, 5, b"cdef", True)]


def test_a_ping_tells_its_number():
    assert list(Decoder().feed(spdy.ping(4))) == [Frame(Kind.PING, 4)]


@pytest.mark.parametrize("head", ["80020006 00 000004", "80030002 00 ffffff"], ids=["version 2", "a huge frame"])
def test_what_breaks_the_protocol_is_refused(head):
    with pytest.raises(SpdyFault):
        list(Decoder().feed(bytes.fromhex(head)))
