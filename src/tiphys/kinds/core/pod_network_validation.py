"""Validation of how a pod resolves names, and of its ports where it has the host's network.

Source: upstream's `validatePodDNSConfig`, `ValidateHostAliases` and `validatePodHostNetworkDeps`.
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

_MOST_SERVERS, _MOST_SEARCHES, _MOST_SEARCH_CHARACTERS = 3, 32, 2048


def check_host_network(spec: Json, path: str, *, is_pod: bool) -> Errors:
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort") or 0
            if (is_pod or host) and host != port.get("containerPort"):
                where = f"{path}[{index}].ports[{position}].hostPort"
                yield invalid(where, host, "must match `containerPort` when `hostNetwork` is true")


def check_dns(spec: Json, path: str) -> Errors:
    config = spec.get("dnsConfig")
    servers, searches = (config or {}).get("nameservers") or [], (config or {}).get("searches") or []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not servers:
            rule = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.nameservers", rule)
            return
    if len(servers) > _MOST_SERVERS:
        yield invalid(f"{path}.nameservers", servers, f"must not have more than {_MOST_SERVERS} nameservers")
    for index, server in enumerate(servers):
        yield from follows(server, f"{path}.nameservers[{index}]", names.ip)
    if len(searches) > _MOST_SEARCHES:
        yield invalid(f"{path}.searches", searches, f"must not have more than {_MOST_SEARCHES} search paths")
    if len(" ".join(searches)) > _MOST_SEARCH_CHARACTERS:
        rule = f"must not have more than {_MOST_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        yield invalid(f"{path}.searches", searches, rule)
    for index, search in enumerate(searches):
        if search != ".":
            yield from follows(search.removesuffix("."), f"{path}.searches[{index}]", names.lax_subdomain)
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            yield required(f"{path}.options[{index}]", "must not be empty")


def check_aliases(aliases: list[Json], path: str) -> Errors:
    for index, alias in enumerate(aliases):
        yield from follows(alias.get("ip") or "", f"{path}[{index}].ip", names.ip)
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            yield from follows(hostname, f"{path}[{index}].hostnames[{position}]", names.dns1123_subdomain)
