"""`tiphys ls` and `tiphys status`: the clusters of this machine, and one of them on a screen."""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson

from tiphys.main import keep
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, Settings, clusters
from tiphys.main.node import containerd_of
from tiphys.main.node_settings import nodes_of
from tiphys.main.pki import Pki
from tiphys.node import process

_SHOWN_NODES = 20
# By etcd's number of the alarm.
_ALARMS = {
    1: "etcd is full and takes no writes: delete what is not needed; the leading server gives the space back",
    2: "a member of etcd is corrupt: `tiphys node remove` its node, then `tiphys up` brings another",
}


def ls(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys ls", description="The clusters of this machine.")
    parser.add_argument("-o", "--output", choices=("json",), help="for scripts")
    options = parser.parse_args(arguments)
    try:
        rows = [_row(cluster) for cluster in clusters()]
    except PermissionError:
        print("tiphys ls: clusters are root's; run it with sudo", file=sys.stderr)
        return 1
    if options.output == "json":
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return 0
    print(f"{'NAME':<20} {'STATE':<10} {'SERVER':<28} NODES")
    for row in rows:
        print(f"{row['name']:<20} {row['state']:<10} {row['server']:<28} {','.join(row['nodes'])}")
    return 0


def _row(cluster: Cluster) -> dict[str, Any]:
    settings = cluster.settings()
    nodes = nodes_of(cluster, settings)
    pidfiles = [node.pidfile(role) for node in nodes for role in node.roles if role != "etcd"]
    running = [pidfile for pidfile in pidfiles if process.load(pidfile) is not None]
    state = "running" if len(running) == len(pidfiles) else "partly" if running else "down"
    names = [f"{settings.simulated} simulated"] if settings.simulated else [node.name for node in nodes]
    return {"name": cluster.name, "state": state, "server": settings.server_url, "node": settings.node, "nodes": names}


def status(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys status", description="One cluster on one screen.")
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument("-o", "--output", choices=("json",), help="for scripts")
    options = parser.parse_args(arguments)
    try:
        found = gather(Cluster(options.name))
    except (ClusterError, PermissionError) as error:
        print(f"tiphys status: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found)
    return 1 if found["warnings"] else 0


def gather(cluster: Cluster) -> dict[str, Any]:
    """Components, nodes, store, certificates and what is wrong, as plain data."""
    settings = cluster.settings()
    components: dict[str, dict[str, Any] | None] = {}
    for node in nodes_of(cluster, settings):
        # The first node's are the cluster's; those of others are told apart by their number.
        suffix = f"-{node.number}" if node.number > 1 else ""
        for role in node.roles:
            components[role + suffix] = _component(node.pidfile(role))
        if node.agent:
            components[f"containerd{suffix}"] = _component(containerd_of(node).config.pidfile)
    if (keeper := _component(cluster.pidfile(keep.ROLE))) is not None:
        components[keep.ROLE] = keeper
    warnings = [f"{role} does not run; `tiphys up {cluster.name}` starts it" for role, c in components.items() if not c]
    nodes: list[dict[str, str]] = []
    try:
        nodes = [_node(item) for item in _get(cluster, "/api/v1/nodes")["items"]]
    except OSError as error:
        warnings.append(f"the API server at {settings.server_url} does not answer: {error}")
    warnings += [f"node {node['name']} is {node['status']}" for node in nodes if node["status"] != "Ready"]
    certificates = _certificates(cluster)
    warnings += [f"certificate {name} expires in {days} days" for name, days in certificates.items() if days < 30]
    store = _etcd(cluster, settings, warnings) if settings.store == "etcd" else _sqlite(cluster)
    from tiphys.main.backup.overview import overview

    backups = overview(cluster)
    warnings += backups.pop("warnings")
    return {
        "name": cluster.name, "server": settings.server_url, "kubeconfig": str(cluster.kubeconfig),
        "components": components, "nodes": nodes, "store": store,
        "certificates": certificates, "backups": backups, "warnings": warnings,
    }  # fmt: skip


def _sqlite(cluster: Cluster) -> dict[str, Any]:
    return {"driver": "sqlite", "bytes": cluster.store.stat().st_size if cluster.store.exists() else 0}


def _etcd(cluster: Cluster, settings: Settings, warnings: list[str]) -> dict[str, Any]:
    """How the members of etcd fare; what is wrong with them is added to the warnings."""
    from tiphys.base.clock import SystemClock
    from tiphys.main.etcd import Etcd
    from tiphys.store.protocol import Unavailable

    async def ask() -> list[dict[str, Any]]:
        found = []
        async with Etcd(nodes_of(cluster, settings)[0], SystemClock()).members() as members:
            for member in await members.members():
                try:
                    health = await members.health(member.endpoint)
                except Unavailable:
                    found.append({"name": member.name, "state": "down", "bytes": 0, "used": 0})
                    continue
                state = "learner" if health.learner else "leader" if health.leads else "follower"
                found.append({"name": member.name, "state": state, "bytes": health.size, "used": health.used})
            warnings.extend(_ALARMS[alarm] for _, alarm in await members.alarms())
        return found

    try:
        members = asyncio.run(ask())
    except Unavailable as error:
        warnings.append(f"etcd has no majority of its members: {error.reason}")
        members = []
    warnings += [
        f"the etcd member of {m['name'] or 'a node that never came'} is down" for m in members if m["state"] == "down"
    ]
    return {"driver": "etcd", "bytes": max((m["bytes"] for m in members), default=0), "members": members}


def _component(pidfile: Path) -> dict[str, Any] | None:
    identity = process.load(pidfile)
    if identity is None:
        return None
    rollup = Path(f"/proc/{identity.pid}/smaps_rollup").read_text()
    pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return {"pid": identity.pid, "pssMiB": round(pss / 1024, 1)}


def _get(cluster: Cluster, path: str) -> Any:
    settings, pki = cluster.settings(), Pki(cluster.pki)
    request = Request(settings.server_url + path)  # noqa: S310 - our own https URL
    tls: ssl.SSLContext = pki.client_tls("admin")
    with urlopen(request, context=tls, timeout=5) as answer:  # noqa: S310 - our own https URL
        return orjson.loads(answer.read())


def _node(item: dict[str, Any]) -> dict[str, str]:
    conditions = {c["type"]: c["status"] for c in (item.get("status") or {}).get("conditions") or ()}
    state = "Ready" if conditions.get("Ready") == "True" else "NotReady"
    if (item.get("spec") or {}).get("unschedulable"):
        state += ",SchedulingDisabled"
    version = ((item.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "")
    return {"name": item["metadata"]["name"], "status": state, "version": version}


def _certificates(cluster: Cluster) -> dict[str, int]:
    """Days left of each certificate."""
    import datetime

    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    found = {}
    for path in sorted(cluster.pki.glob("*.crt")):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        found[path.stem] = (certificate.not_valid_after_utc - now).days
    return found


def _print(found: dict[str, Any]) -> None:
    print(f"cluster      {found['name']} at {found['server']}")
    print(f"kubeconfig   {found['kubeconfig']}")
    for role, component in found["components"].items():
        shown = f"running, pid {component['pid']}, {component['pssMiB']} MiB" if component else "down"
        print(f"{role:<12} {shown}")
    for node in found["nodes"][:_SHOWN_NODES]:
        print(f"node         {node['name']} {node['status']} {node['version']}")
    if len(found["nodes"]) > _SHOWN_NODES:
        ready = sum(node["status"] == "Ready" for node in found["nodes"])
        print(f"nodes        {len(found['nodes'])} in all, {ready} of them Ready")
    print(f"store        {found['store']['driver']}, {found['store']['bytes'] / 1e6:.1f} MB")
    for member in found["store"].get("members", ()):
        used = f", {member['used'] / 1e6:.1f} of {member['bytes'] / 1e6:.1f} MB used" if member["bytes"] else ""
        print(f"etcd member  {member['name'] or '(not started yet)'} {member['state']}{used}")
    soonest = min(found["certificates"].items(), key=lambda item: item[1], default=("", 0))
    print(f"certificates {len(found['certificates'])}, the first to expire is {soonest[0]} in {soonest[1]} days")
    print(f"backups      {found['backups']['text']}")
    for warning in found["warnings"]:
        print(f"warning      {warning}")
