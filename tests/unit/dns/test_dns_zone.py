"""The cluster's names, as the DNS specification of Kubernetes has them."""

from __future__ import annotations

import pytest
from dns_objects import endpoint, service, slice_of, zone_of

from tiphys.dns import wire
from tiphys.dns.zone import Zone

SERVICES = [
    service("web", "10.96.0.10", ports=[{"name": "http", "port": 80, "protocol": "TCP"}]),
    service("dual", "10.96.0.11", clusterIPs=["10.96.0.11", "fd00::11"]),
    service("db"),
    service("eager", publishNotReadyAddresses=True),
    service("words"),
    service("away", "", type="ExternalName", externalName="example.com"),
]
SLICES = [
    slice_of("web", endpoint("10.42.0.9")),
    slice_of("db", endpoint("10.42.0.1", "db-0"), endpoint("10.42.0.2"), endpoint("10.42.0.3", "db-2", ready=False),
             ports=[{"name": "sql", "port": 5432, "protocol": "TCP"}, {"name": "any", "protocol": "TCP"}]),
    slice_of("db", endpoint("fd00::1", "db-0"), kind="IPv6", ports=[{"name": "sql", "port": 5432, "protocol": "TCP"}]),
    slice_of("eager", endpoint("10.42.0.4", "e-0", ready=False)),
    slice_of("words", endpoint("x.example.com"), kind="FQDN"),
]  # fmt: skip


@pytest.fixture
async def zone() -> Zone:
    return await zone_of(SERVICES, SLICES)


def found(zone: Zone, name: str, kind: int = wire.A) -> list[str] | None:
    records = zone.find(f"{name}.cluster.local" if name else "cluster.local", kind)
    return None if records is None else sorted(record.data for record in records)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.default.svc", wire.A, ["10.96.0.10"]),
        ("web.default.svc", wire.AAAA, []),
        ("web.default.svc", wire.ANY, ["10.96.0.10"]),
        ("dual.default.svc", wire.AAAA, ["fd00::11"]),
        ("db.default.svc", wire.A, ["10.42.0.1", "10.42.0.2"]),
        ("db.default.svc", wire.AAAA, ["fd00::1"]),
        ("db-0.db.default.svc", wire.A, ["10.42.0.1"]),
        ("db-0.db.default.svc", wire.AAAA, ["fd00::1"]),
        ("10-42-0-2.db.default.svc", wire.A, ["10.42.0.2"]),
        ("db-2.db.default.svc", wire.A, None),
        ("10-42-0-1.db.default.svc", wire.A, None),
        ("eager.default.svc", wire.A, ["10.42.0.4"]),
        ("e-0.eager.default.svc", wire.A, ["10.42.0.4"]),
        ("words.default.svc", wire.A, []),
        ("10-42-0-9.web.default.svc", wire.A, None),
        ("x.y.z.db.default.svc", wire.A, None),
        ("none.default.svc", wire.A, None),
        ("web.other.svc", wire.A, None),
    ],
)
async def test_addresses(zone: Zone, name: str, kind: int, expected: list[str] | None) -> None:
    assert found(zone, name, kind) == expected


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("_http._tcp.web.default.svc", wire.SRV, ["0 100 80 web.default.svc.cluster.local"]),
        ("_http._tcp.web.default.svc", wire.A, []),
        ("_http._udp.web.default.svc", wire.SRV, None),
        ("_other._tcp.web.default.svc", wire.SRV, None),
        ("_sql._tcp.db.default.svc", wire.SRV, [
            "0 100 5432 10-42-0-2.db.default.svc.cluster.local", "0 100 5432 db-0.db.default.svc.cluster.local",
            "0 100 5432 db-0.db.default.svc.cluster.local"]),
        ("_any._tcp.db.default.svc", wire.SRV, None),
        ("_http._tcp.eager.default.svc", wire.SRV, ["0 100 8080 e-0.eager.default.svc.cluster.local"]),
    ],
)  # fmt: skip
async def test_ports(zone: Zone, name: str, kind: int, expected: list[str] | None) -> None:
    assert found(zone, name, kind) == expected


async def test_external_names(zone: Zone) -> None:
    for kind in (wire.A, wire.AAAA, wire.CNAME):
        (record,) = zone.find("away.default.svc.cluster.local", kind) or ()
        assert (record.type, record.data) == (wire.CNAME, "example.com")
    assert found(zone, "x.away.default.svc") is None


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("10-42-0-5.default.pod", wire.A, ["10.42.0.5"]),
        ("10-42-0-5.default.pod", wire.AAAA, []),
        ("fd00--5.default.pod", wire.AAAA, ["fd00::5"]),
        ("fd00-1-2-3-4-5-6-7.default.pod", wire.AAAA, ["fd00:1:2:3:4:5:6:7"]),
        ("10-42-0-999.default.pod", wire.A, None),
        ("web.default.pod", wire.A, None),
    ],
)
async def test_pods(zone: Zone, name: str, kind: int, expected: list[str] | None) -> None:
    assert found(zone, name, kind) == expected


async def test_names_that_only_hold_others_exist_without_records(zone: Zone) -> None:
    for name in ("", "svc", "pod", "default.svc"):
        assert found(zone, name) == []
    for name in ("other.svc", "x", "default.x"):
        assert found(zone, name) is None


async def test_the_version_of_the_schema(zone: Zone) -> None:
    assert found(zone, "dns-version", wire.TXT) == ["1.1.0"]
    assert found(zone, "dns-version", wire.A) == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.96.0.10", ["web.default.svc.cluster.local"]),
        ("fd00::11", ["dual.default.svc.cluster.local"]),
        ("10.42.0.1", ["db-0.db.default.svc.cluster.local"]),
        ("10.42.0.2", ["10-42-0-2.db.default.svc.cluster.local"]),
        ("10.42.0.9", None),
        ("192.0.2.1", None),
    ],
)
async def test_reverse(zone: Zone, address: str, expected: list[str] | None) -> None:
    records = zone.reverse(address)
    assert (None if records is None else [record.data for record in records]) == expected


async def test_what_the_zone_covers(zone: Zone) -> None:
    assert zone.covers("cluster.local")
    assert zone.covers("x.cluster.local")
    assert not zone.covers("xcluster.local")
    assert not zone.covers("local")
