"""DNS messages: one question in, records out. Only what a cluster's resolver needs; everything else is passed on raw.

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
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION = 0x8000, 0x0400, 0x0200, 0x0080


class WireError(ValueError):
    """The bytes are no DNS query."""


@dataclass(frozen=True, slots=True)
class Question:
    """`name` is lower case without the last dot; `size` what the client's UDP socket takes, in bytes."""

    id: int
    flags: int
    name: str
    type: int
    size: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """`data` is an address for A and AAAA, a name for CNAME and PTR, "priority weight port target" for SRV."""

    name: str
    type: int
    data: str
    ttl: int = 5


def parse(message: bytes) -> Question:
    """The only question of a query. Raises WireError."""
    try:
        number, flags, questions, _, _, extra = _HEADER.unpack_from(message)
        if flags & _RESPONSE or questions != 1:
            raise WireError("not a query with one question")
        name, at = _read_name(message, _HEADER.size)
        kind, _ = struct.unpack_from("!HH", message, at)
        end = at + 4
        size = _edns_size(message, end) if extra else _PLAIN_SIZE
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise WireError(f"cut short: {error}") from None
    return Question(number, flags, name.lower(), kind, size, message[_HEADER.size : end])


def _edns_size(message: bytes, at: int) -> int:
    if message[at] == 0 and struct.unpack_from("!H", message, at + 1)[0] == OPT:
        size: int = struct.unpack_from("!H", message, at + 3)[0]
        return min(max(size, _PLAIN_SIZE), _MAX_UDP)
    return _PLAIN_SIZE


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    labels, end, jumps = [], 0, 0
    while length := message[at]:
        if length & 0xC0 == 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            jumps += 1
            if jumps > 16:
                raise WireError("a name that points in a circle")
            continue
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += length + 1
    return ".".join(labels), end or at + 1


def answer(
    question: Question, records: Sequence[Record], *, code: int = NOERROR, soa: Record | None = None, tcp: bool = False
) -> bytes:
    """The reply; cut down to what fits the client's UDP buffer, with the truncation bit set."""
    body = b"".join(map(_encode, records))
    authority = _encode_soa(soa) if soa is not None and not records else b""
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION | (question.flags & 0x0100) | code
    limit = 65535 if tcp else question.size
    count = len(records)
    if _HEADER.size + len(question.raw) + len(body) + len(authority) > limit:
        flags |= _TRUNCATED
        body, count, authority = b"", 0, b""
    header = _HEADER.pack(question.id, flags, 1, count, 1 if authority else 0, 0)
    return header + question.raw + body + authority


def failure(message: bytes, code: int) -> bytes:
    """A reply without records to whatever has an id."""
    number = int.from_bytes(message[:2], "big") if len(message) >= 2 else 0
    return _HEADER.pack(number, _RESPONSE | code, 0, 0, 0, 0)


def _name(text: str) -> bytes:
    parts = [part.encode("ascii") for part in text.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _encode(record: Record) -> bytes:
    if record.type in (A, AAAA):
        data = ipaddress.ip_address(record.data).packed
    elif record.type == SRV:
        priority, weight, port, target = record.data.split()
        data = struct.pack("!3H", int(priority), int(weight), int(port)) + _name(target)
    else:
        data = _name(record.data)
    return _name(record.name) + _RECORD.pack(record.type, IN, record.ttl, len(data)) + data


def _encode_soa(record: Record) -> bytes:
    """Start of authority, so that resolvers may remember that a name does not exist."""
    data = _name(f"ns.dns.{record.name}") + _name(f"hostmaster.{record.name}")
    data += struct.pack("!5I", 1, 7200, 1800, 86400, record.ttl)
    return _name(record.name) + _RECORD.pack(SOA, IN, record.ttl, len(data)) + data
