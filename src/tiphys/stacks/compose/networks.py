"""Names and networks: the Services by which a service is found, and NetworkPolicies where a file separates networks.

Source: https://docs.docker.com/reference/compose-file/networks/
"""

from __future__ import annotations

from typing import Any

from tiphys.stacks.compose.load import Model
from tiphys.stacks.compose.ports import exposed
from tiphys.stacks.objects import STACK, dns_name, published_services

Json = dict[str, Any]
_NETWORK = "network.tiphys.io/"
_KNOWN = frozenset(
    {
        "driver",
        "driver_opts",
        "external",
        "name",
        "labels",
        "internal",
        "attachable",
        "ipam",
        "enable_ipv6",
        "enable_ipv4",
    }
)


def attached(service: Json) -> dict[str, Json]:
    """The networks of a service with what it says of each."""
    value = service.get("networks")
    if not value:
        return {"default": {}}
    return {name: {} for name in value} if isinstance(value, list) else {name: one or {} for name, one in value.items()}


def check(model: Model) -> None:
    for name, one in (model.content.get("networks") or {}).items():
        given, path = one or {}, f"networks.{name}"
        for key in given:
            if key not in _KNOWN and not str(key).startswith("x-"):
                model.problems.refuse(f"{path}.{key}", "no such field of a network")
        if given.get("driver") not in (None, "overlay", "bridge", "default", "host"):
            use = "leave it out: pods have the cluster's one network"
            model.problems.refuse(f"{path}.driver", f"there is no network driver {given['driver']}", use)
        if given.get("ipam"):
            model.problems.warn(f"{path}.ipam", "ignored: the addresses are the cluster's")
        if given.get("external"):
            text = "services of another stack are reached as SERVICE.STACK: each stack is a namespace"
            model.problems.warn(path, text)
    for name, service in model.content["services"].items():
        for network in attached(service):
            if network != "default" and network not in (model.content.get("networks") or {}):
                model.problems.refuse(
                    f"services.{name}.networks", f"networks has no {network}", f"an entry `{network}:` under networks"
                )


def services_of(model: Model, name: str, ports: list[Json], selector: Json, addresses: tuple[str, ...]) -> list[Json]:
    """Service objects of one service: its name, its aliases, its published ports."""
    service = model.content["services"][name]
    path = f"services.{name}"
    inside = dict.fromkeys([(port["target"], port["protocol"]) for port in ports] + exposed(service))
    spec: Json = {"selector": selector}
    by_rotation = (service.get("deploy") or {}).get("endpoint_mode") == "dnsrr"
    if by_rotation or not inside:
        spec["clusterIP"] = "None"
    if inside:
        spec["ports"] = [
            {"name": f"p{number}-{protocol.lower()}", "port": number, "targetPort": number, "protocol": protocol}
            for number, protocol in inside
        ]
    elif not by_rotation:
        model.problems.warn(
            path, "names no port, so its name is that of its containers; `expose` gives it a stable address"
        )
    own = dns_name(name)
    if own != name:
        model.problems.warn(path, f"is reached as {own}: {name} is no DNS name")
    found = [_service(alias, spec) for alias in dict.fromkeys([own, *_aliases(model, name)])]
    outside = [port for port in ports if port["mode"] == "ingress"]
    found += [_service(title, spec) for title, spec in published_services(own, outside, selector, addresses)]
    return found


def _aliases(model: Model, name: str) -> list[str]:
    found = []
    others = {dns_name(other) for other in model.content["services"] if other != name}
    for network, one in attached(model.content["services"][name]).items():
        path = f"services.{name}.networks.{network}"
        for key in ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address"):
            if one.get(key):
                model.problems.refuse(f"{path}.{key}", "addresses are the cluster's", "the service's name")
        for at, alias in enumerate(one.get("aliases") or ()):
            if dns_name(alias) != alias:
                model.problems.warn(
                    f"{path}.aliases[{at}]", f"is {dns_name(alias)}: {alias} is no DNS name in the namespace"
                )
            if dns_name(alias) in others:
                model.problems.refuse(
                    f"{path}.aliases[{at}]", f"{alias} is the name of another service", "another alias"
                )
            found.append(dns_name(alias))
    return found


def _service(name: str, spec: Json) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def pod_labels(model: Model, service: Json) -> Json:
    """Labels that say to which networks a pod belongs, where that matters."""
    return {_NETWORK + dns_name(network): "true" for network in attached(service)} if _separated(model) else {}


def _separated(model: Model) -> bool:
    sets = {tuple(sorted(attached(one))) for one in model.content["services"].values() if not one.get("network_mode")}
    internal = any((one or {}).get("internal") for one in (model.content.get("networks") or {}).values())
    return len(sets) > 1 or internal


def policies(model: Model) -> list[Json]:
    """One NetworkPolicy for each network, and another if that is internal; none where nothing is kept apart."""
    if not _separated(model):
        return []
    definitions = model.content.get("networks") or {}
    used = dict.fromkeys(network for one in model.content["services"].values() for network in attached(one))
    internal = [network for network in used if (definitions.get(network) or {}).get("internal")]
    found = [
        _policy(f"network-{dns_name(network)}", {"matchLabels": _label(network)}, ingress=[{"from": [peer]}])
        for network in used
        for peer in [_peer(network, definitions.get(network) or {})]
    ]
    open_ones = [network for network in used if network not in internal]
    for network in internal:
        # Who is on another network as well gets out through that.
        inside = [{"key": _NETWORK + dns_name(other), "operator": "DoesNotExist"} for other in open_ones]
        chosen = {"matchLabels": _label(network), "matchExpressions": inside}
        names = {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}
        peers = {"to": [_peer(network, definitions[network])]}
        found.append(_policy(f"internal-{dns_name(network)}", chosen, egress=[peers, names]))
    return found + _published(model)


def _label(network: str) -> Json:
    return {_NETWORK + dns_name(network): "true"}


def _peer(network: str, given: Json) -> Json:
    """The containers on a network: of all stacks, where it is not the stack's own."""
    peer: Json = {"podSelector": {"matchLabels": _label(network)}}
    if given.get("external"):
        peer["namespaceSelector"] = {"matchExpressions": [{"key": STACK, "operator": "Exists"}]}
    return peer


def _policy(name: str, chosen: Json, **rules: list[Json]) -> Json:
    spec = {"podSelector": chosen, "policyTypes": [word.capitalize() for word in rules], **rules}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip


def _published(model: Model) -> list[Json]:
    """Published ports are open to everybody, whatever the networks."""
    from tiphys.stacks.objects import SERVICE

    names = [dns_name(name) for name, one in model.content["services"].items() if one.get("ports")]
    if not names:
        return []
    chosen = {"matchExpressions": [{"key": SERVICE, "operator": "In", "values": names}]}
    return [_policy("published", chosen, ingress=[{}])]
