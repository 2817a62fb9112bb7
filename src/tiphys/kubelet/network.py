"""A pod's names on the network: hostname, /etc/hosts, resolv.conf. Pure.

https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.runtime import Dns

_MAX_HOSTNAME = 63
_MAX_SERVERS, _MAX_SEARCHES = 3, 32
_NOTHING = Dns()


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """`host` is what the node's own resolv.conf says."""

    domain: str = "cluster.local"
    servers: tuple[str, ...] = ()
    host: Dns = _NOTHING


def hostname(pod: Pod) -> str:
    """The pod's hostname: its own, or its name cut to what a hostname may have."""
    if pod.spec.hostname_override is not None:
        return pod.spec.hostname_override
    name = pod.spec.hostname or pod.metadata.name[:_MAX_HOSTNAME].rstrip("-.")
    if pod.spec.set_hostname_as_fqdn and pod.spec.subdomain:
        return f"{name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc"
    return name


def fqdn(pod: Pod, domain: str) -> str:
    """The pod's full name in the cluster's DNS, where its subdomain gives it one; else ""."""
    if not pod.spec.subdomain:
        return ""
    name = pod.spec.hostname or pod.metadata.name[:_MAX_HOSTNAME].rstrip("-.")
    return f"{name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}"


def hosts_file(pod: Pod, ips: Sequence[str], domain: str) -> str:
    """/etc/hosts of a pod with its own network."""
    lines = [
        "# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters",
    ]  # fmt: skip
    full = fqdn(pod, domain)
    name = hostname(pod)
    lines += [f"{ip}\t{full}\t{name}" if full else f"{ip}\t{name}" for ip in ips]
    return "\n".join(lines) + "\n" + host_aliases(pod)


def host_aliases(pod: Pod) -> str:
    """What hostAliases add to a hosts file; "" for none."""
    if not pod.spec.host_aliases:
        return ""
    lines = ["", "# Entries added by HostAliases."]
    lines += ["\t".join([alias.ip, *alias.hostnames]) for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def dns(pod: Pod, cluster: ClusterDns) -> Dns:
    """resolv.conf according to dnsPolicy and dnsConfig."""
    policy = pod.spec.dns_policy
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and cluster.servers:
        tail = (f"svc.{cluster.domain}", cluster.domain)
        searches = (f"{pod.metadata.namespace}.{tail[0]}", *tail, *cluster.host.searches)
        base = Dns(cluster.servers, searches, ("ndots:5",))
    elif policy == "None":
        base = Dns()
    else:
        base = cluster.host
    return _with_config(pod, base)


def _with_config(pod: Pod, base: Dns) -> Dns:
    config = pod.spec.dns_config
    if config is None:
        return base
    servers = list(dict.fromkeys([*base.servers, *config.nameservers]))
    searches = list(dict.fromkeys([*base.searches, *config.searches]))
    options = dict(option.partition(":")[::2] for option in base.options)
    options |= {option.name: option.value or "" for option in config.options}
    shown = tuple(f"{name}:{value}" if value else name for name, value in options.items())
    return Dns(tuple(servers[:_MAX_SERVERS]), tuple(searches[:_MAX_SEARCHES]), shown)


def parse_resolv_conf(text: str) -> Dns:
    """The node's own DNS settings."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word in ("search", "domain"):
            searches = [name for name in rest if name != "."]
        elif word == "options":
            options += rest
    return Dns(tuple(servers), tuple(searches), tuple(options))
