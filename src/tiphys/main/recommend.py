"""`tiphys recommend`: what workloads request, what they used in the last days, and what they should request.

CPU: what was not exceeded in 90 % of the time, and 15 % more, as upstream's vertical-pod-autoscaler has it. Memory,
which cannot be throttled: the most of eight days and 15 % more. The nodes tell what was used; nothing is changed.
Source: https://github.com/kubernetes/autoscaler/blob/master/vertical-pod-autoscaler/docs/flags.md
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from tiphys.api.quantity import parse
from tiphys.api.registry import AnyResource
from tiphys.api.time import age
from tiphys.cli.config import Connection, load
from tiphys.cli.errors import CliError, ServerError, explain
from tiphys.cli.tabs import align
from tiphys.cli.transport import Http, Transport, segment
from tiphys.kinds.apps.daemonset import DAEMON_SETS
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS
from tiphys.kubelet.usage_history import Record, decode
from tiphys.main.cluster import DEFAULT_NAME, Cluster

Json = dict[str, Any]
_SHARE, _MARGIN = 0.9, 1.15
_LEAST_MILLI, _LEAST_MEMORY = 10, 8 << 20
_MIB = 1 << 20
# What was killed for want of memory gets a fifth more than it might have, or this.
_BUMP, _BUMP_LEAST = 1.2, 100 << 20
# A recommendation of less than a day has not seen how the nights differ.
_SHORT = 86_400.0
_TEMPLATES: dict[str, tuple[AnyResource, tuple[str, ...]]] = {
    resource.kind: (resource, path)
    for resource, path in (
        (DEPLOYMENTS, ("spec", "template", "spec")),
        (STATEFUL_SETS, ("spec", "template", "spec")),
        (DAEMON_SETS, ("spec", "template", "spec")),
        (REPLICA_SETS, ("spec", "template", "spec")),
        (REPLICATION_CONTROLLERS, ("spec", "template", "spec")),
        (JOBS, ("spec", "template", "spec")),
        (CRON_JOBS, ("spec", "jobTemplate", "spec", "template", "spec")),
        (PODS, ("spec",)),
    )
}


@dataclass
class Advice:
    """For one container of a workload: CPU in thousandths of a core, memory in bytes; None is not known or not set."""

    record: Record
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    # The memory limit at which a container of it was killed.
    killed_at: int = 0
    # "containers" or "initContainers".
    place: str = "containers"

    @property
    def workload(self) -> str:
        return f"{self.record.kind.lower()}/{self.record.name}"

    @property
    def used_milli(self) -> int | None:
        cores = self.record.cores(_SHARE)
        return None if cores is None else math.ceil(cores * 1000)

    @property
    def peak(self) -> int:
        return max(self.record.memory.values(), default=0)

    @property
    def milli(self) -> int | None:
        used = self.used_milli
        return None if used is None else max(_LEAST_MILLI, math.ceil(used * _MARGIN))

    @property
    def memory(self) -> int:
        """In whole MiB."""
        wanted = max(_LEAST_MEMORY, self.peak * _MARGIN)
        if self.killed_at:
            wanted = max(wanted, self.killed_at * _BUMP, self.killed_at + _BUMP_LEAST)
        return math.ceil(wanted / _MIB) * _MIB


def recommend(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        managed = Cluster(options.cluster)
        transport = Http(Connection(load(str(managed.kubeconfig)), {"context": managed.name}))
        sys.stdout.write(answer(transport, options))
    except (CliError, ServerError) as error:
        print(f"tiphys recommend: {explain(error)}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"tiphys recommend: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    text = "What workloads should request, by what they used in the last days."
    parser = argparse.ArgumentParser("tiphys recommend", description=text)
    parser.add_argument("workload", nargs="?", default="", metavar="KIND/NAME", help="default: all of the namespace")
    parser.add_argument("-n", "--namespace", default="default", help="default: %(default)s")
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("--patch", action="store_true", help="print a patch of KIND/NAME for `kubectl patch`")
    parser.add_argument("--cluster", default=DEFAULT_NAME, metavar="NAME", help="the cluster (default: %(default)s)")
    return parser


def answer(transport: Transport, options: argparse.Namespace) -> str:
    """What is printed. Raises what the transport does, and CliError."""
    namespace = "" if options.all_namespaces else options.namespace
    kind, _, name = options.workload.rpartition("/")
    if options.patch and (not name or options.all_namespaces):
        raise CliError("--patch is for one workload: KIND/NAME, in one namespace")
    resource = _resource(kind) if options.workload else None
    found = [
        record
        for record in _records(transport)
        if namespace in ("", record.namespace)
        and (resource is None or (record.kind, record.name) == (resource.kind, name))
    ]
    advices = list(_advices(transport, found, namespace))
    if not advices:
        where = f"{options.workload} " if options.workload else "anything "
        where += f"in namespace {namespace}" if namespace else "in the cluster"
        raise CliError(f"nothing is known of {where} yet: nodes measure once a minute what runs")
    return _patch(advices) if options.patch else _table(advices, options.all_namespaces)


def _resource(kind: str) -> AnyResource:
    for resource, _ in _TEMPLATES.values():
        if kind.lower() in (resource.kind.lower(), resource.plural, *resource.short_names):
            return resource
    raise CliError(f"name a workload as KIND/NAME, KIND being one of {', '.join(sorted(_TEMPLATES))}")


def _records(transport: Transport) -> Iterable[Record]:
    """What all nodes saw, by container of a workload."""
    found: dict[tuple[str, str, str, str], Record] = {}
    for node in orjson.loads(transport.call("GET", "/api/v1/nodes"))["items"]:
        name = node["metadata"]["name"]
        try:
            body = transport.call("GET", f"/api/v1/nodes/{segment(name)}/proxy/stats/history")
            records = decode(body)
        except (ServerError, msgspec.MsgspecError) as error:
            print(f"node {name} does not tell what it saw: {error}", file=sys.stderr)
            continue
        for record in records:
            if record.key in found:
                found[record.key].add(record)
            else:
                found[record.key] = record
    return found.values()


def _advices(transport: Transport, records: Iterable[Record], namespace: str) -> Iterator[Advice]:
    """In order; none for what is not there any more."""
    listed: dict[str, dict[tuple[str, str], Json]] = {}
    killed = _killed(transport, namespace)
    for record in sorted(records, key=lambda each: each.key):
        resource, path = _TEMPLATES.get(record.kind, (None, ()))
        if resource is None:
            # A kind of somebody's own: what its pods used can be told, what they request is its operator's matter.
            yield Advice(record)
            continue
        if record.kind not in listed:
            items = orjson.loads(transport.call("GET", resource.path(namespace=namespace)))["items"]
            listed[record.kind] = {(i["metadata"]["namespace"], i["metadata"]["name"]): i for i in items}
        spec: Any = listed[record.kind].get((record.namespace, record.name))
        for part in path:
            spec = spec and spec.get(part)
        for place in ("containers", "initContainers") if spec else ():
            for container in spec.get(place) or ():
                if container["name"] == record.container:
                    yield _advice(record, container.get("resources") or {}, killed, place)


def _advice(record: Record, resources: Json, killed: set[tuple[str, str, int]], place: str) -> Advice:
    limits = resources.get("limits") or {}
    # Upstream: where only a limit is given, it is the request too.
    requests = {**limits, **(resources.get("requests") or {})}
    memory = parse(limits["memory"]).value() if "memory" in limits else 0
    at = memory if (record.namespace, record.container, memory) in killed else 0
    return Advice(record, requests, limits, at, place)


def _killed(transport: Transport, namespace: str) -> set[tuple[str, str, int]]:
    """Namespace, container and memory limit of what was killed at its limit lately."""
    found = set()
    for pod in orjson.loads(transport.call("GET", PODS.path(namespace=namespace)))["items"]:
        limits = {
            each["name"]: (each.get("resources") or {}).get("limits", {}).get("memory")
            for each in pod["spec"]["containers"]
        }
        for status in pod["status"].get("containerStatuses") or ():
            states = [status.get("state") or {}, status.get("lastState") or {}]
            if any((state.get("terminated") or {}).get("reason") == "OOMKilled" for state in states):
                limit = limits.get(status["name"])
                found.add((pod["metadata"]["namespace"], status["name"], parse(limit).value() if limit else 0))
    return found


def _table(advices: Sequence[Advice], everywhere: bool) -> str:
    header = ["NAMESPACE"] if everywhere else []
    header += ["WORKLOAD", "CONTAINER", "CPU REQUEST", "USED", "RECOMMENDED"]
    header += ["MEMORY REQUEST", "PEAK", "RECOMMENDED", "SEEN"]
    lines, short, killed = ["\t".join(header)], False, False
    for each in advices:
        seen = each.record.last - each.record.first
        short, killed = short or seen < _SHORT, killed or bool(each.killed_at)
        cells = [each.record.namespace] if everywhere else []
        cells += [each.workload, each.record.container, each.requests.get("cpu", "-"), _milli(each.used_milli)]
        cells += [_milli(each.milli), each.requests.get("memory", "-"), f"{math.ceil(each.peak / _MIB)}Mi"]
        cells += [f"{each.memory // _MIB}Mi{'*' if each.killed_at else ''}", age(seen)]
        lines.append("\t".join(cells))
    text = align("\n".join(lines) + "\n", minimum=6, padding=3)
    if killed:
        text += "* it was killed at its memory limit: more than it could use\n"
    if short:
        text += "What was seen for less than a day may not have shown its usual load yet.\n"
    return text


def _milli(value: int | None) -> str:
    return "-" if value is None else f"{value}m"


def _patch(advices: Sequence[Advice]) -> str:
    """A strategic merge patch; limits, where there are any, keep their ratio to the requests."""
    import yaml

    path = _TEMPLATES[advices[0].record.kind][1]
    if path == ("spec",):
        raise CliError("a pod that runs is resized with `kubectl patch --subresource resize`; --patch is for workloads")
    patch: Json = {}
    for each in advices:
        patch.setdefault(each.place, []).append({"name": each.record.container, "resources": _resources(each)})
    for part in reversed(path):
        patch = {part: patch}
    return str(yaml.safe_dump(patch, sort_keys=False))


def _resources(advice: Advice) -> Json:
    requests: dict[str, str] = {"memory": f"{advice.memory // _MIB}Mi"}
    limits: dict[str, str] = {}
    if advice.milli is not None:
        requests = {"cpu": f"{advice.milli}m", **requests}
        if "cpu" in advice.limits:
            limits["cpu"] = f"{math.ceil(advice.milli * _ratio(advice, 'cpu'))}m"
    if "memory" in advice.limits:
        limits["memory"] = f"{math.ceil(advice.memory / _MIB * _ratio(advice, 'memory'))}Mi"
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _ratio(advice: Advice, resource: str) -> float:
    request, limit = parse(advice.requests[resource]).nanos, parse(advice.limits[resource]).nanos
    return max(limit / request, 1.0) if request else 1.0
