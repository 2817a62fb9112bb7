"""DNS messages from bytes and to bytes: hand-made packets, and any bytes at all."""

from __future__ import annotations

import struct

import pytest
from dns_objects import Reply, name_bytes, packet, reply_to
from hypothesis import given
from hypothesis import strategies as st

from tiphys.dns import wire
from tiphys.dns.wire import Record, WireError


def test_a_query() -> None:
    question = wire.parse(packet("Web.Default.svc.cluster.local", wire.A))
    assert (question.id, question.name, question.type) == (7, "web.default.svc.cluster.local", wire.A)
    assert (question.size, question.edns) == (512, False)


def test_the_root() -> None:
    assert wire.parse(packet("", wire.NS)).name == ""


@pytest.mark.parametrize(("said", "taken"), [(100, 512), (1232, 1232), (65535, 4096)])
def test_the_size_that_an_edns_client_says(said: int, taken: int) -> None:
    question = wire.parse(packet("a", size=said))
    assert (question.size, question.edns) == (taken, True)


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\0" * 11, packet("a")[:-1], packet("a", flags=0x8000), packet("a", flags=0x2800), packet("a", class_=3),
        struct.pack("!6H", 1, 0, 0, 0, 0, 0), struct.pack("!6H", 1, 0, 2, 0, 0, 0) + packet("a")[12:],
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\1a\xc0\x0c\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\1\xff\0\0\1\0\1",
    ],
)  # fmt: skip
def test_what_is_no_query(message: bytes) -> None:
    with pytest.raises(WireError):
        wire.parse(message)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for read in (wire.parse, wire.answers):
        for message in (data, struct.pack("!6H", 1, 0, 1, 0, 0, 1) + data, struct.pack("!6H", 1, 0, 0, 9, 0, 0) + data):
            try:
                read(message)
            except WireError:
                continue
    assert Reply(wire.failure(data, wire.FORMERR)).code == wire.FORMERR


def test_names_that_point_in_circles_end() -> None:
    circle = struct.pack("!6H", 1, 0x8000, 0, 1, 0, 0) + b"\xc0\x0e\xc0\x0c" + b"\0" * 10
    with pytest.raises(WireError):
        wire.answers(circle)


RECORDS = [
    Record("a.x", wire.A, "192.0.2.1", 9), Record("a.x", wire.AAAA, "2001:db8::1", 1), Record("a.x", wire.CNAME, "b.y"),
]  # fmt: skip
_LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)


def test_what_is_written_is_read() -> None:
    assert wire.answers(wire.answer(wire.parse(packet("a.x")), RECORDS)) == RECORDS
    assert wire.answers(reply_to(packet("a.x"), "192.0.2.1", ttl=9)) == RECORDS[:1]


@given(st.lists(_LABELS, min_size=1, max_size=3), st.sampled_from([wire.A, wire.SRV, wire.PTR]), st.integers(0, 65535))
def test_a_query_is_read_as_it_was_made(labels: list[str], kind: int, number: int) -> None:
    question = wire.parse(wire.query(number, ".".join(labels), kind))
    assert (question.id, question.name, question.type, question.edns) == (number, ".".join(labels), kind, True)


def test_a_name_that_dns_cannot_hold() -> None:
    for name in ("a" * 64, ".".join(["a" * 63] * 4)):
        with pytest.raises(WireError):
            wire.query(1, name, wire.A)


def test_the_bytes_of_a_reply() -> None:
    question = wire.parse(packet("A.x", wire.SRV))
    data = wire.answer(question, [Record("a.x", wire.SRV, "0 100 80 b.y", 5)])
    target = name_bytes("b.y")
    assert data == (
        struct.pack("!6H", 7, 0x8580, 1, 1, 0, 0) + name_bytes("A.x") + struct.pack("!HH", 33, 1) + name_bytes("a.x")
        + struct.pack("!HHIH", 33, 1, 5, 6 + len(target)) + struct.pack("!3H", 0, 100, 80) + target
    )  # fmt: skip


def test_text() -> None:
    data = wire.answer(wire.parse(packet("a", wire.TXT)), [Record("a", wire.TXT, "1.1.0")])
    assert data.endswith(b"\x05" + b"1.1.0")


def test_edns_is_answered_with_edns() -> None:
    reply = wire.answer(wire.parse(packet("a", size=4096)), [])
    assert Reply(reply).extra == 1
    assert reply.endswith(b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0))
    assert Reply(wire.answer(wire.parse(packet("a")), [])).extra == 0


def test_what_is_too_long_is_cut_and_says_so() -> None:
    many = [Record("a.x", wire.A, f"192.0.2.{n}") for n in range(50)]
    plain = wire.answer(wire.parse(packet("a.x")), many)
    assert len(plain) <= 512
    assert (Reply(plain).truncated, Reply(plain).answers) == (True, 0)
    assert Reply(wire.answer(wire.parse(packet("a.x", size=4096)), many)).answers == 50
    assert Reply(wire.answer(wire.parse(packet("a.x")), many, tcp=True)).answers == 50


def test_a_name_without_records_says_for_how_long() -> None:
    soa = Record("x", wire.SOA, "", 5)
    reply = Reply(wire.answer(wire.parse(packet("a.x")), (), code=wire.NXDOMAIN, soa=soa))
    assert (reply.code, reply.answers, reply.authority, reply.authoritative) == (wire.NXDOMAIN, 0, 1, True)
    assert Reply(wire.answer(wire.parse(packet("a.x")), RECORDS, soa=soa)).authority == 0


def test_a_failure_repeats_the_question() -> None:
    reply = Reply(wire.answer(wire.parse(packet("a.x")), (), code=wire.SERVFAIL))
    assert (reply.questions, reply.authoritative, reply.number) == (1, False, 7)
