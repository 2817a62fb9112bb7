"""Checks of IP addresses and ranges that many kinds share: their families, special ones, ways to write them.

Source: upstream's `ValidateNonSpecialIP`, `IsDualStackIPStrings` and `apimachinery/pkg/util/validation/ip.go`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from tiphys.api import names
from tiphys.api.errors import invalid
from tiphys.kinds.checks import Errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse(value: str) -> Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def parse_range(value: str) -> Network | None:
    if names.cidr(value):
        return None
    return ipaddress.ip_network(value, strict=False)


def check_not_special(value: str, path: str) -> Errors:
    """An address at which something outside can be: no loopback, no link-local one."""
    address = parse(value)
    if address is None:
        yield invalid(path, value, "must be a valid IP address")
        return
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_unspecified:
        yield invalid(path, value, f"may not be unspecified ({value})")
    if address.is_loopback:
        yield invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address in _LOCAL_MULTICAST[address.version]:
        yield invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


_LOCAL_MULTICAST: dict[int, Network] = {
    4: ipaddress.ip_network("224.0.0.0/24"),
    6: ipaddress.ip_network("ff02::/16"),
}


def check_canonical(value: str, path: str) -> Errors:
    """An address written in the one way that new fields allow."""
    problems = names.ip(value)
    for problem in problems:
        yield invalid(path, value, problem)
    address = parse(value)
    if address is not None and getattr(address, "ipv4_mapped", None):
        yield invalid(path, value, "must not be an IPv4-mapped IPv6 address")
    elif address is not None and str(address) != value:
        yield invalid(path, value, f'must be in canonical form ("{address}")')


def check_canonical_range(value: str, path: str) -> Errors:
    """A range written in the one way that new fields allow."""
    network = parse_range(value)
    if network is None:
        for problem in names.cidr(value):
            yield invalid(path, value, problem)
    elif parse(value.partition("/")[0]) != network.network_address:
        yield invalid(path, value, "must not have bits set beyond the prefix length")
    elif str(network) != value:
        yield invalid(path, value, f'must be in canonical form ("{network}")')


def dual_stack(values: Iterable[str]) -> bool:
    """Whether both families are there; of ranges as of addresses."""
    families = {address.version for value in values if (address := parse(value.partition("/")[0])) is not None}
    return len(families) == 2


def address_warnings(value: str, path: str) -> Iterator[str]:
    """Of an old field, which takes addresses written in other ways too."""
    address = parse(value)
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        yield f'{path}: non-standard IP address "{value}" is invalid: use "{mapped}"'
    elif address is not None and address.version == 6 and str(address) != value:
        yield f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{address}")'


def range_warnings(value: str, path: str) -> Iterator[str]:
    """Of an old field, which takes ranges written in other ways too."""
    network, address = parse_range(value), parse(value.partition("/")[0])
    if network is None or address is None:
        return
    if address != network.network_address:
        single = f"{address}/{network.max_prefixlen}"
        yield f'{path}: CIDR value "{value}" is ambiguous in this context (should be "{network}" or "{single}"?)'
    elif network.version == 6 and str(network) != value:
        yield f'{path}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{network}")'
