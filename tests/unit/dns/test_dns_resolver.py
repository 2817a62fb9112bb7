"""The resolver: the cluster's names from the zone, all others from servers outside, which a test plays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dns_objects import Reply, endpoint, packet, reply_to, service, slice_of, zone_of
from hypothesis import given
from hypothesis import strategies as st

from tiphys.base.clock import VirtualClock
from tiphys.dns import wire
from tiphys.dns.server import Resolver

SERVICES = [
    service("web", "10.96.0.10"),
    service("db"),
    service("away", "", type="ExternalName", externalName="example.com"),
    service("near", "", type="ExternalName", externalName="web.default.svc.cluster.local"),
    service("twice", "", type="ExternalName", externalName="away.default.svc.cluster.local"),
    service("round", "", type="ExternalName", externalName="round.default.svc.cluster.local"),
    service("broken", "", type="ExternalName", externalName="a" * 70),
]
SLICES = [slice_of("db", *(endpoint(f"10.42.0.{n}") for n in range(1, 60)))]


class Outside:
    """Servers outside: `answer` makes the reply, `asked` is what they were asked, as (server, TCP)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.answer: Callable[[str, bytes], bytes] = lambda server, message: reply_to(message, "192.0.2.7")

    async def __call__(self, server: str, message: bytes, tcp: bool) -> bytes:
        self.asked.append((server, tcp))
        return self.answer(server, message)


class Resolving:
    def __init__(self, resolver: Resolver, outside: Outside, clock: VirtualClock) -> None:
        self.resolver, self.outside, self.clock = resolver, outside, clock

    async def addresses(self, name: str, kind: int = wire.A) -> list[str]:
        return [record.data for record in wire.answers(await self.resolver.resolve(packet(name, kind, size=4096)))]

    async def reply(self, name: str, kind: int = wire.A, *, tcp: bool = False, size: int = 0) -> Reply:
        return Reply(await self.resolver.resolve(packet(name, kind, size=size), tcp=tcp))


@pytest.fixture
async def dns() -> Resolving:
    clock, outside = VirtualClock(), Outside()
    zone = await zone_of(SERVICES, SLICES)
    return Resolving(Resolver(zone, ["10.0.0.1", "10.0.0.2"], clock, outside), outside, clock)


async def test_names_of_the_cluster_are_not_asked_outside(dns: Resolving) -> None:
    assert await dns.addresses("web.default.svc.cluster.local") == ["10.96.0.10"]
    missing = await dns.reply("none.default.svc.cluster.local")
    assert (missing.code, missing.authority, missing.authoritative) == (wire.NXDOMAIN, 1, True)
    empty = await dns.reply("web.default.svc.cluster.local", wire.AAAA)
    assert (empty.code, empty.answers, empty.authority) == (wire.NOERROR, 0, 1)
    assert dns.outside.asked == []


async def test_reverse_names(dns: Resolving) -> None:
    ours = await dns.reply("10.0.96.10.in-addr.arpa", wire.PTR)
    assert (ours.answers, ours.authoritative) == (1, True)
    await dns.reply("7.2.0.192.in-addr.arpa", wire.PTR)
    await dns.reply("1.ip6.arpa", wire.PTR)
    assert len(dns.outside.asked) == 2


async def test_before_the_cluster_is_known_nothing_is_denied() -> None:
    resolver = Resolver(await zone_of(SERVICES, SLICES, synced=False), [], VirtualClock(), Outside())
    assert Reply(await resolver.resolve(packet("web.default.svc.cluster.local"))).code == wire.SERVFAIL


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("away", ["example.com", "192.0.2.7"]),
        ("near", ["web.default.svc.cluster.local", "10.96.0.10"]),
        ("twice", ["away.default.svc.cluster.local", "example.com", "192.0.2.7"]),
    ],
)
async def test_external_names_are_followed_for_the_client(dns: Resolving, name: str, expected: list[str]) -> None:
    assert await dns.addresses(f"{name}.default.svc.cluster.local") == expected


async def test_an_external_name_whose_target_nobody_knows_is_still_one(dns: Resolving) -> None:
    dns.outside.answer = lambda server, message: b"\0" * 5
    assert await dns.addresses("away.default.svc.cluster.local") == ["example.com"]


async def test_external_names_that_lead_nowhere_end(dns: Resolving) -> None:
    assert (await dns.reply("round.default.svc.cluster.local", size=4096)).code == wire.NOERROR
    assert (await dns.reply("broken.default.svc.cluster.local")).code == wire.SERVFAIL


async def test_other_names_are_asked_outside_once_for_a_while(dns: Resolving) -> None:
    first = await dns.resolver.resolve(packet("example.com", number=1))
    second = await dns.resolver.resolve(packet("example.com", number=2))
    assert wire.answers(first) == wire.answers(second)
    assert [Reply(first).number, Reply(second).number] == [1, 2]
    assert dns.outside.asked == [("10.0.0.1", False)]
    await dns.clock.advance(31)
    await dns.addresses("example.com")
    assert len(dns.outside.asked) == 2


async def test_an_answer_is_kept_no_longer_than_it_says(dns: Resolving) -> None:
    dns.outside.answer = lambda server, message: reply_to(message, "192.0.2.7", "192.0.2.8", ttl=3)
    await dns.addresses("example.com")
    await dns.clock.advance(4)
    await dns.addresses("example.com")
    assert len(dns.outside.asked) == 2
    dns.outside.answer = lambda server, message: reply_to(message, "192.0.2.7", ttl=0)
    for _ in range(2):
        await dns.addresses("never.kept")
    assert len(dns.outside.asked) == 4


async def test_that_a_name_does_not_exist_is_kept_for_moments(dns: Resolving) -> None:
    dns.outside.answer = lambda server, message: reply_to(message, code=wire.NXDOMAIN)
    for _ in range(2):
        assert (await dns.reply("none.com")).code == wire.NXDOMAIN
    assert len(dns.outside.asked) == 1
    await dns.clock.advance(6)
    await dns.reply("none.com")
    assert len(dns.outside.asked) == 2


@pytest.mark.parametrize("what", [{"code": wire.SERVFAIL}, {"truncated": True}])
async def test_failures_and_halves_are_not_kept(dns: Resolving, what: dict[str, int]) -> None:
    dns.outside.answer = lambda server, message: reply_to(message, **what)  # type: ignore[arg-type]
    for _ in range(2):
        await dns.reply("example.com")
    assert len(dns.outside.asked) == 2


async def test_a_long_answer_over_tcp_is_not_given_to_a_client_that_takes_a_short_one(dns: Resolving) -> None:
    dns.outside.answer = lambda server, message: reply_to(message, *(f"192.0.2.{n}" for n in range(60)))
    assert (await dns.reply("example.com", tcp=True)).answers == 60
    dns.outside.answer = lambda server, message: reply_to(message, truncated=True)
    assert (await dns.reply("example.com")).truncated
    assert dns.outside.asked == [("10.0.0.1", True), ("10.0.0.1", False)]


async def test_the_next_server_is_asked_when_one_is_silent(dns: Resolving) -> None:
    def answer(server: str, message: bytes) -> bytes:
        if server == "10.0.0.1":
            raise TimeoutError
        return reply_to(message, "192.0.2.8")

    dns.outside.answer = answer
    assert await dns.addresses("example.com") == ["192.0.2.8"]


async def test_when_none_answers_the_client_is_told(dns: Resolving) -> None:
    def answer(server: str, message: bytes) -> bytes:
        raise OSError(111, "refused")

    dns.outside.answer = answer
    reply = await dns.reply("example.com")
    assert (reply.code, reply.questions, reply.number) == (wire.SERVFAIL, 1, 7)
    assert [server for server, _ in dns.outside.asked] == ["10.0.0.1", "10.0.0.2"]


async def test_many_endpoints_need_tcp_or_edns(dns: Resolving) -> None:
    assert (await dns.reply("db.default.svc.cluster.local")).truncated
    assert (await dns.reply("db.default.svc.cluster.local", tcp=True)).answers == 59


async def test_endpoints_come_in_any_order(dns: Resolving) -> None:
    orders = {tuple(await dns.addresses("db.default.svc.cluster.local")) for _ in range(8)}
    assert len(orders) > 1
    assert len({frozenset(order) for order in orders}) == 1


async def test_what_is_no_query_is_refused(dns: Resolving) -> None:
    reply = Reply(await dns.resolver.resolve(b"\x12\x34garbage"))
    assert (reply.number, reply.code, reply.response) == (0x1234, wire.FORMERR, True)


@given(st.binary(max_size=100))
async def test_nothing_makes_it_raise(data: bytes) -> None:
    outside = Outside()
    outside.answer = lambda server, message: data
    resolver = Resolver(await zone_of(SERVICES, SLICES), ["10.0.0.1"], VirtualClock(), outside)
    for message in (data, packet("x.com") + data, packet("away.default.svc.cluster.local")):
        assert isinstance(await resolver.resolve(message), bytes)
