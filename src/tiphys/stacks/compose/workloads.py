"""A service's workload: its pod, what runs it (`deploy.mode`), and how it is updated.

Source: https://docs.docker.com/reference/compose-file/deploy/
"""

from __future__ import annotations

import math
import re
from typing import Any

from tiphys.stacks import units
from tiphys.stacks.compose.containers import container
from tiphys.stacks.compose.load import Model
from tiphys.stacks.compose.merging import pairs
from tiphys.stacks.compose.placement import HOST, placement
from tiphys.stacks.objects import FAILURE_ACTION, MAX_FAILURE_RATIO, MODE, Facts, digest, dns_name, without_empty
from tiphys.stacks.problems import Problems

Json = dict[str, Any]
_MODES = ("replicated", "global", "replicated-job", "global-job")
_ANNOTATION = re.compile(r"(?:[a-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_UPDATE = frozenset(["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"])


def pod_spec(
    model: Model, stack: str, name: str, selector: Json, parts: tuple[list[Json], list[Json], list[Json]]
) -> Json:
    """`parts` are volumes, mounts and container ports."""
    service, path, problems = model.content["services"][name], f"services.{name}", model.problems
    volumes, mounts, ports = parts
    one = {**container(model, stack, name, service), **without_empty({"volumeMounts": mounts, "ports": ports})}
    if service.get("stop_signal"):
        one["lifecycle"] = {"stopSignal": _signal(str(service["stop_signal"]))}
    return without_empty({
        "containers": [one],
        "volumes": volumes,
        "os": {"name": "linux"} if service.get("stop_signal") else None,
        "terminationGracePeriodSeconds": _grace(path, service, problems),
        "hostname": service.get("hostname"),
        "hostAliases": _host_aliases(f"{path}.extra_hosts", service, problems),
        "dnsConfig": without_empty({
            "nameservers": _list(service.get("dns")), "searches": _list(service.get("dns_search")),
            "options": [_dns_option(str(option)) for option in service.get("dns_opt") or ()],
        }),
        "hostNetwork": _host_network(f"{path}.network_mode", service, problems),
        "dnsPolicy": "ClusterFirstWithHostNet" if service.get("network_mode") == "host" else None,
        "hostPID": _shared(f"{path}.pid", service.get("pid"), problems),
        "hostIPC": _shared(f"{path}.ipc", service.get("ipc"), problems),
        "shareProcessNamespace": True if service.get("init") else None,
        "runtimeClassName": service.get("runtime"),
        "securityContext": without_empty({
            "sysctls": [{"name": key, "value": str(value)} for key, value in pairs(service.get("sysctls")).items()],
            "supplementalGroups": _groups(f"{path}.group_add", service, problems),
        }),
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        **placement(path, service, selector, problems),
    })  # fmt: skip


def workload(model: Model, name: str, pod: Json, selector: Json, facts: Facts) -> Json:
    """The Deployment, DaemonSet or Job. `pod` is {"metadata", "spec"}."""
    service, path, problems = model.content["services"][name], f"services.{name}", model.problems
    deploy = service.get("deploy") or {}
    mode = str(deploy.get("mode") or "replicated")
    if mode not in _MODES:
        problems.refuse(f"{path}.deploy.mode", f"{mode!r} is no mode", ", ".join(_MODES))
        mode = "replicated"
    condition = _restart(path, deploy, mode, problems)
    annotations = {**_annotations(f"{path}.deploy.labels", deploy.get("labels"), problems), MODE: mode}
    replicas = _replicas(f"{path}.deploy.replicas", deploy.get("replicas", service.get("scale", 1)), problems)
    if mode.endswith("-job") or condition == "none":
        return _job(
            dns_name(name), pod, {"mode": mode, "replicas": replicas, "facts": facts, "deploy": deploy}, annotations
        )
    strategy, more = _update(path, deploy, replicas, problems)
    annotations |= more.pop("annotations")
    spec: Json = {"selector": {"matchLabels": selector}, "template": pod, "revisionHistoryLimit": 5}
    if more["ready"]:
        spec["minReadySeconds"] = more["ready"]
    kind = "DaemonSet" if mode == "global" else "Deployment"
    spec |= {"updateStrategy": strategy} if mode == "global" else {"replicas": replicas, "strategy": strategy}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": dns_name(name), "annotations": annotations},
        "spec": spec,
    }


def _restart(path: str, deploy: Json, mode: str, problems: Problems) -> str:
    """The condition; what else a restart policy says is the kubelet's own way."""
    policy = deploy.get("restart_policy") or {}
    condition = str(policy.get("condition") or "any")
    where = f"{path}.deploy.restart_policy"
    if condition not in ("any", "on-failure", "none"):
        problems.refuse(f"{where}.condition", f"{condition!r} is no condition", "any, on-failure or none")
    if mode.endswith("-job"):
        return condition
    if condition == "none" and mode == "global":
        problems.refuse(f"{where}.condition", "a global service is always restarted", "mode: global-job")
    elif condition == "none":
        problems.warn(f"{where}.condition", "is run as a Job, once for each change of the service")
    elif condition == "on-failure":
        problems.warn(
            f"{where}.condition", "an end without failure is restarted too; what is to end is mode: replicated-job"
        )
    for key in ("delay", "max_attempts", "window"):
        if policy.get(key) is not None and condition != "none":
            problems.warn(f"{where}.{key}", "ignored: the kubelet restarts for ever, after 10 s and up to 5 min")
    return condition


def _job(name: str, pod: Json, how: Json, annotations: Json) -> Json:
    """Its name has the hash of what is run: a Job cannot change, and the same is not run twice."""
    policy = how["deploy"].get("restart_policy") or {}
    condition = policy.get("condition") or "any"
    count = how["replicas"]
    spec = {**pod["spec"], "restartPolicy": "Never" if condition == "none" else "OnFailure"}
    if how["mode"] == "global-job":
        count = max(1, len(how["facts"].addresses))
        spread = {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule",
                  "labelSelector": {"matchLabels": pod["metadata"]["labels"]}}  # fmt: skip
        spec["topologySpreadConstraints"] = [spread]
    attempts = policy.get("max_attempts")
    limit = 0 if condition == "none" else int(attempts) if attempts is not None else 6
    job = {"parallelism": count, "completions": count, "backoffLimit": limit, "template": {**pod, "spec": spec}}
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": f"{name[:54]}-{digest(job)}", "annotations": annotations}, "spec": job,
    }  # fmt: skip


def _replicas(path: str, value: Any, problems: Problems) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        problems.refuse(path, f"{value!r} is no number of replicas", "a whole number from 0")
    return max(0, number)


def _update(path: str, deploy: Json, replicas: int, problems: Problems) -> tuple[Json, Json]:
    """The strategy, and {"ready": minReadySeconds, "annotations"}."""
    given, where = deploy.get("update_config") or {}, f"{path}.deploy.update_config"
    for field in ("update_config", "rollback_config"):
        for key in deploy.get(field) or {}:
            if key not in _UPDATE:
                problems.refuse(f"{path}.deploy.{field}.{key}", f"no such field of {field}")
    if deploy.get("rollback_config"):
        problems.warn(f"{path}.deploy.rollback_config", "a rollback goes at the pace of update_config")
    parallelism = int(given.get("parallelism", 1))
    order = str(given.get("order") or "stop-first")
    if order not in ("stop-first", "start-first"):
        problems.refuse(f"{where}.order", f"{order!r} is no order", "stop-first or start-first")
    pace: Any = parallelism or "100%"
    rolling = (
        {"maxSurge": pace, "maxUnavailable": 0} if order == "start-first" else {"maxSurge": 0, "maxUnavailable": pace}
    )
    ready = max(_seconds(f"{where}.{key}", given.get(key, 0), problems) for key in ("delay", "monitor"))
    action = str(given.get("failure_action") or "pause")
    if action not in ("pause", "continue", "rollback"):
        problems.refuse(f"{where}.failure_action", f"{action!r} is no action", "pause, continue or rollback")
    if action == "continue":
        problems.warn(
            f"{where}.failure_action", "an update that fails stops by itself: it goes on when pods become ready"
        )
    annotations = {FAILURE_ACTION: action, MAX_FAILURE_RATIO: str(given.get("max_failure_ratio") or 0)}
    return {"type": "RollingUpdate", "rollingUpdate": rolling}, {"ready": ready, "annotations": annotations}


def _annotations(path: str, labels: Any, problems: Problems) -> Json:
    """Labels of Docker may hold any text: annotations can, labels cannot."""
    found: Json = {}
    for key, value in pairs(labels).items():
        if _ANNOTATION.fullmatch(key):
            found[key] = "" if value is None else str(value)
        else:
            problems.warn(f"{path}.{key}", "ignored: it is no name of an annotation")
    return found


def pod_annotations(path: str, service: Json, problems: Problems) -> Json:
    found = _annotations(f"{path}.labels", service.get("labels"), problems)
    return {**found, **_annotations(f"{path}.annotations", service.get("annotations"), problems)}


def _seconds(path: str, value: Any, problems: Problems) -> int:
    try:
        return math.ceil(units.seconds(value))
    except ValueError as error:
        problems.refuse(path, str(error))
        return 0


def _grace(path: str, service: Json, problems: Problems) -> int:
    return _seconds(f"{path}.stop_grace_period", service.get("stop_grace_period", "10s"), problems)


def _dns_option(text: str) -> Json:
    name, sign, value = text.partition(":")
    return {"name": name, "value": value} if sign else {"name": name}


def _signal(text: str) -> str:
    import signal

    if text.isdigit():
        return signal.Signals(int(text)).name
    return text if text.startswith("SIG") else f"SIG{text}"


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value or ())


def _host_aliases(path: str, service: Json, problems: Problems) -> list[Json]:
    found: dict[str, list[str]] = {}
    for name, address in pairs(service.get("extra_hosts")).items():
        if address in (None, "host-gateway"):
            problems.refuse(
                f"{path}.{name}", f"{address} is no address", "the address of a node, or network_mode: host"
            )
            continue
        for one in _list(address):
            found.setdefault(str(one).strip("[]"), []).append(name)
    return [{"ip": address, "hostnames": names} for address, names in found.items()]


def _host_network(path: str, service: Json, problems: Problems) -> bool | None:
    mode = str(service.get("network_mode") or "bridge")
    if mode in ("bridge", "default"):
        return None
    if mode != "host":
        problems.refuse(path, f"{mode!r} is no network of a service", "networks, or host")
    return True


def _shared(path: str, value: Any, problems: Problems) -> bool | None:
    if value in (None, "", "private", "shareable"):
        return None
    if value != "host":
        problems.refuse(path, f"{value!r} is not shared between services", "host, or leave it out")
    return True


def _groups(path: str, service: Json, problems: Problems) -> list[int]:
    found = []
    for group in service.get("group_add") or ():
        if str(group).isdigit():
            found.append(int(group))
        else:
            problems.refuse(path, f"{group!r} is a name, which only the image could translate", "its number")
    return found
