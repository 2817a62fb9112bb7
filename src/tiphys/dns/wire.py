"""DNS messages: one question in, records out. Only what a cluster's resolver needs; everything else is passed on raw.

Whatever the bytes, reading them ends, and raises nothing but WireError.

Source: RFC 1035, RFC 2782 (SRV), RFC 6891 (EDNS: the client's buffer size)
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
IN = 1
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_PLAIN_SIZE = 512
_MAX_UDP = 4096
# What is safe to send and to take without fragments (DNS flag day 2020).
_UDP_SIZE = 1232
_MAX_NAME, _MAX_LABEL = 255, 63
_RESPONSE, _OPCODE, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x7800, 0x0400, 0x0200
_RECURSION_DESIRED, _RECURSION = 0x0100, 0x0080


class WireError(ValueError):
    """The bytes are no DNS query."""


@dataclass(frozen=True, slots=True)
class Question:
    """`name` is lower case without the last dot; `size` what the client's UDP socket takes, in bytes.

    `edns` tells whether the client speaks EDNS, `raw` is the question as it was sent.
    """

    id: int
    flags: int
    name: str
    type: int
    size: int
    raw: bytes
    edns: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """`data` is an address for A and AAAA, a name for CNAME and PTR, "priority weight port target" for SRV.

    It is the text itself for TXT, and empty for types that are not read.
    """

    name: str
    type: int
    data: str
    ttl: int = 5


def parse(message: bytes) -> Question:
    """The only question of a query. Raises WireError."""
    try:
        number, flags, questions, _, _, extra = _HEADER.unpack_from(message)
        if flags & (_RESPONSE | _OPCODE) or questions != 1:
            raise WireError("not a query with one question")
        name, at = _read_name(message, _HEADER.size)
        kind, class_ = struct.unpack_from("!HH", message, at)
        end = at + 4
        if end != _HEADER.size + len(name.encode()) + (6 if name else 5):
            raise WireError("a question that points elsewhere: the reply could not repeat it")
        size = _edns_size(message, end) if extra else 0
    except (struct.error, IndexError, UnicodeError) as error:
        raise WireError(f"cut short: {error}") from None
    if class_ != IN:
        raise WireError(f"class {class_} is not the Internet's")
    raw = message[_HEADER.size : end]
    return Question(number, flags, name.lower(), kind, size or _PLAIN_SIZE, raw, bool(size))


def _edns_size(message: bytes, at: int) -> int:
    """What the client takes; 0 if it does not say."""
    if message[at] == 0 and struct.unpack_from("!H", message, at + 1)[0] == OPT:
        size: int = struct.unpack_from("!H", message, at + 3)[0]
        return min(max(size, _PLAIN_SIZE), _MAX_UDP)
    return 0


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """A name, and where it ends; it may point to an earlier one, and never to itself or what follows."""
    labels: list[str] = []
    end, room, start = 0, _MAX_NAME, at
    while length := message[at]:
        if length >= 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            if at >= start:
                raise WireError("a name that does not point back")
            start = at
            continue
        room -= length + 1
        if length > _MAX_LABEL or room < 1:
            raise WireError("a name that is too long")
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += length + 1
    return ".".join(labels), end or at + 1


def query(number: int, name: str, kind: int) -> bytes:
    """A question for another server, with room for a long answer. Raises WireError for what is no name."""
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 1)
    return header + _name(name) + struct.pack("!HH", kind, IN) + _opt(_UDP_SIZE)


def answers(message: bytes) -> list[Record]:
    """The answer section of a reply. Raises WireError."""
    found = []
    try:
        _, _, questions, count, _, _ = _HEADER.unpack_from(message)
        at = _HEADER.size
        for _ in range(questions):
            at = _read_name(message, at)[1] + 4
        for _ in range(count):
            name, at = _read_name(message, at)
            kind, _, ttl, size = _RECORD.unpack_from(message, at)
            at += _RECORD.size
            found.append(Record(name, kind, _read_data(message, kind, at, size), ttl))
            at += size
    except (struct.error, IndexError, ValueError) as error:
        raise WireError(f"cut short: {error}") from None
    return found


def _read_data(message: bytes, kind: int, at: int, size: int) -> str:
    if kind in (A, AAAA):
        data = message[at : at + size]
        return str(ipaddress.IPv4Address(data) if kind == A else ipaddress.IPv6Address(data))
    return _read_name(message, at)[0] if kind == CNAME else ""


def answer(
    question: Question, records: Sequence[Record], *, code: int = NOERROR, soa: Record | None = None, tcp: bool = False
) -> bytes:
    """The reply; cut down to what fits the client's UDP buffer, with the truncation bit set."""
    body = b"".join(map(_encode, records))
    authority = _encode_soa(soa) if soa is not None and not records else b""
    flags = _RESPONSE | _RECURSION | (question.flags & _RECURSION_DESIRED) | code
    if code in (NOERROR, NXDOMAIN):
        flags |= _AUTHORITATIVE
    extra = _opt(_UDP_SIZE) if question.edns else b""
    count = len(records)
    if _HEADER.size + len(question.raw) + len(body) + len(authority) + len(extra) > (65535 if tcp else question.size):
        flags |= _TRUNCATED
        body, count, authority = b"", 0, b""
    header = _HEADER.pack(question.id, flags, 1, count, 1 if authority else 0, 1 if extra else 0)
    return header + question.raw + body + authority + extra


def _opt(size: int) -> bytes:
    """EDNS: what whoever sends this takes over UDP."""
    return struct.pack("!BHHIH", 0, OPT, size, 0, 0)


def failure(message: bytes, code: int) -> bytes:
    """A reply without records to whatever has an id."""
    number = int.from_bytes(message[:2], "big") if len(message) >= 2 else 0
    return _HEADER.pack(number, _RESPONSE | code, 0, 0, 0, 0)


def _name(text: str) -> bytes:
    parts = [part.encode("ascii", "replace") for part in text.split(".") if part]
    if any(len(part) > _MAX_LABEL for part in parts) or sum(map(len, parts)) + len(parts) + 1 > _MAX_NAME:
        raise WireError(f"{text[:_MAX_LABEL]}: a name that is too long")
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _encode(record: Record) -> bytes:
    if record.type in (A, AAAA):
        data = ipaddress.ip_address(record.data).packed
    elif record.type == SRV:
        priority, weight, port, target = record.data.split()
        data = struct.pack("!3H", int(priority), int(weight), int(port)) + _name(target)
    elif record.type == TXT:
        text = record.data.encode()[:255]
        data = bytes([len(text)]) + text
    else:
        data = _name(record.data)
    return _name(record.name) + _RECORD.pack(record.type, IN, record.ttl, len(data)) + data


def _encode_soa(record: Record) -> bytes:
    """Start of authority, so that resolvers may remember that a name does not exist."""
    data = _name(f"ns.dns.{record.name}") + _name(f"hostmaster.{record.name}")
    data += struct.pack("!5I", 1, 7200, 1800, 86400, record.ttl)
    return _name(record.name) + _RECORD.pack(SOA, IN, record.ttl, len(data)) + data
