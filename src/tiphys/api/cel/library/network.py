"""IP addresses, CIDR blocks and URLs. Source: upstream's `apiserver/pkg/cel/library/{ip,cidr,urls}.go`."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import parse_qs, quote

from tiphys.api.cel import costs
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.types import Struct, opaque
from tiphys.api.cel.values import Opaque, size

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Ip(Opaque):
    __slots__ = ("address",)
    cel_type = opaque("net.IP")

    def __init__(self, address: _Address) -> None:
        self.address = address

    @property
    def cel_size(self) -> int:
        return self.address.max_prefixlen // 8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ip) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return str(self.address)


class Cidr(Opaque):
    """A block and the address that it was written with."""

    __slots__ = ("address", "length")
    cel_type = opaque("net.CIDR")

    def __init__(self, address: _Address, length: int) -> None:
        self.address, self.length = address, length

    @property
    def cel_size(self) -> int:
        return -(-self.length // 8)

    def network(self) -> Any:
        return ipaddress.ip_network(f"{self.address}/{self.length}", strict=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and (self.address, self.length) == (other.address, other.length)

    def __hash__(self) -> int:
        return hash((self.address, self.length))

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORT = re.compile(r":([0-9]*)\Z")


class Url(Opaque):
    __slots__ = ("host", "path", "query", "scheme", "text")
    cel_type = Struct("kubernetes.URL")

    def __init__(self, text: str) -> None:
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise ValueError(f'parse "{text}": net/url: invalid control character in URL')
        match = _URL.fullmatch(text)
        assert match is not None
        scheme, authority, self.path, self.query, _ = (part or "" for part in match.groups())
        if not scheme and ":" in self.path.partition("/")[0]:
            raise ValueError(f'parse "{text}": first path segment in URL cannot contain colon')
        bad = _BAD_ESCAPE.search(self.path)
        if bad is not None:
            raise ValueError(f'parse "{text}": invalid URL escape "{self.path[bad.start() : bad.start() + 3]}"')
        self.text, self.scheme, self.host = text, scheme.lower(), authority.rpartition("@")[2]
        _check_host(text, self.host)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _check_host(text: str, host: str) -> None:
    rest = host[host.find("]") + 1 :] if host.startswith("[") else host
    if host.startswith("[") and "]" not in host:
        raise ValueError(f"parse \"{text}\": missing ']' in host")
    if " " in host:
        raise ValueError(f'parse "{text}": invalid character " " in host name')
    colon = rest.find(":")
    if colon >= 0 and _PORT.fullmatch(rest[colon:]) is None:
        raise ValueError(f'parse "{text}": invalid port "{rest[colon:]}" after host')


NETWORK = Library({"ip": (Ip.cel_type, Ip), "cidr": (Cidr.cel_type, Cidr), "url": (Url.cel_type, Url)})
_add = NETWORK.add


def _ip(text: str) -> Ip:
    if "%" in text:
        raise EvalError(f'IP address "{text}" with zone value is not allowed')
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        why = f'ParseAddr("{text}"): unable to parse IP'
        raise EvalError(f'IP Address "{text}" parse error during conversion from string: {why}') from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise EvalError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(address)


def _cidr(text: str) -> Cidr:
    address, slash, length = text.partition("/")
    try:
        if not slash or not length.isdigit() or (length[0] == "0" and length != "0"):
            raise ValueError
        found = _ip(address).address
        if int(length) > found.max_prefixlen:
            raise ValueError
    except ValueError:
        why = f"netip.ParsePrefix(\"{text}\"): no '/'" if not slash else f'netip.ParsePrefix("{text}"): bad bits'
        raise EvalError(f"network address parse error during conversion from string: {why}") from None
    return Cidr(found, int(length))


def _is(read: Any) -> Any:
    def check(text: str) -> bool:
        try:
            read(text)
        except (ValueError, EvalError):
            return False
        return True

    return check


def _contains_ip(block: Cidr, ip: Any) -> bool:
    return (_ip(ip) if type(ip) is str else ip).address in block.network()


def _contains_cidr(block: Cidr, other: Any) -> bool:
    other = _cidr(other) if type(other) is str else other
    return block.length <= other.length and other.address in block.network()


def _block_cost(factor: int, extra: int) -> Any:
    def cost(args: costs.Args, _result: Any) -> int:
        own = size(args[0])
        total = -(-own * 2 // 10) + (-(-own // 10) + 1 if extra else 0)
        return total + (costs.tenth(size(args[1])) if type(args[1]) is str else 0) * factor

    return cost


def _url(text: str) -> Url:
    try:
        return Url(text)
    except ValueError as error:
        raise EvalError(f"URL parse error during conversion from string: {error}") from None


def _request_url(text: str) -> Url:
    found = Url(text)
    if not found.scheme and not text.startswith("/"):
        raise ValueError("invalid URI for request")
    # A request has no fragment, so that "#" is a letter like others, and none that a host may have.
    if "#" in text.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise ValueError(f'parse "{text}": invalid character "#" in host name')
    return found


def _hostname(url: Url) -> str:
    if url.host.startswith("["):
        return url.host[1 : url.host.find("]")]
    return _PORT.sub("", url.host)


def _port(url: Url) -> str:
    rest = url.host[url.host.find("]") + 1 :] if url.host.startswith("[") else url.host
    match = _PORT.search(rest)
    return "" if match is None else match[1]


def _is_global_unicast(ip: Any) -> bool:
    address = ip.address
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not (special or str(address) == "255.255.255.255")


def _declare_addresses() -> None:
    once = costs.traverse
    _add("string_to_ip", "ip(string) ip", _ip, once)
    _add("ip_family", "ip.family() int", lambda ip: ip.address.version)
    _add("ip_is_canonical", ".ip.isCanonical(string) bool", lambda text: str(_ip(text)) == text, costs.traverse_twice)
    _add("ip_is_unspecified", "ip.isUnspecified() bool", lambda ip: ip.address.is_unspecified)
    _add("ip_is_loopback", "ip.isLoopback() bool", lambda ip: ip.address.is_loopback)
    _add("ip_is_link_local_multicast", "ip.isLinkLocalMulticast() bool", _link_local_multicast)
    _add("ip_is_link_local_unicast", "ip.isLinkLocalUnicast() bool", lambda ip: ip.address.is_link_local)
    _add("ip_is_global_unicast", "ip.isGlobalUnicast() bool", _is_global_unicast)
    _add("is_ip", "isIP(string) bool", _is(_ip), once)
    _add("ip_to_string", "string(ip) string", str)
    _add("string_to_cidr", "cidr(string) cidr", _cidr, once)
    _add("cidr_contains_ip_string", "cidr.containsIP(string) bool", _contains_ip, _block_cost(1, 0))
    _add("cidr_contains_ip_ip", "cidr.containsIP(ip) bool", _contains_ip, _block_cost(1, 0))
    _add("cidr_contains_cidr_string", "cidr.containsCIDR(string) bool", _contains_cidr, _block_cost(1, 1))
    _add("cidr_contains_cidr", "cidr.containsCIDR(cidr) bool", _contains_cidr, _block_cost(1, 1))
    _add("cidr_ip", "cidr.ip() ip", lambda block: Ip(block.address))
    _add("cidr_prefix_length", "cidr.prefixLength() int", lambda block: block.length)
    _add("cidr_masked", "cidr.masked() cidr", lambda block: Cidr(block.network().network_address, block.length))
    _add("is_cidr", "isCIDR(string) bool", _is(_cidr), once)
    _add("cidr_to_string", "string(cidr) string", str)


def _link_local_multicast(ip: Ip) -> bool:
    text = ip.address.packed
    return text[:3] == b"\xe0\x00\x00" if len(text) == 4 else text[0] == 0xFF and text[1] & 0x0F == 0x02


def _declare_urls() -> None:
    _add("string_to_url", "url(string) url", _url, costs.traverse)
    _add("url_get_scheme", "url.getScheme() string", lambda url: url.scheme)
    _add("url_get_host", "url.getHost() string", lambda url: url.host)
    _add("url_get_hostname", "url.getHostname() string", _hostname)
    _add("url_get_port", "url.getPort() string", _port)
    _add("url_get_escaped_path", "url.getEscapedPath() string", lambda url: quote(url.path, safe="/%:@!$&'()*+,;=~-._"))
    _add(
        "url_get_query",
        "url.getQuery() map(string, list(string))",
        lambda url: parse_qs(url.query, keep_blank_values=True),
    )
    _add("is_url_string", "isURL(string) bool", _is(_request_url))


_declare_addresses()
_declare_urls()
