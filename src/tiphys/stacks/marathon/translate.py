"""Apps as native objects: a Deployment or StatefulSet with Services each. Pure.

Source: https://mesosphere.github.io/marathon/docs/application-basics.html
"""

from __future__ import annotations

import math
import re
from typing import Any

from tiphys.stacks.marathon.constraints import placement
from tiphys.stacks.marathon.fields import check
from tiphys.stacks.marathon.health import probes
from tiphys.stacks.marathon.load import App, Model, waves
from tiphys.stacks.marathon.ports import Port, ports_of
from tiphys.stacks.marathon.volumes import KEY, Storage, secret_of, storage
from tiphys.stacks.objects import MODE, SERVICE, STACK, Facts, literal, published_services, without_empty
from tiphys.stacks.problems import Problems

Json = dict[str, Any]
ID = "tiphys.io/marathon-id"
_ANNOTATION = re.compile(r"(?:[a-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def translate(model: Model, space: str, facts: Facts) -> tuple[list[Json], list[frozenset[str]]]:
    """The objects, and the names of the apps in the order of their start. Raises Refused."""
    found: list[Json] = []
    for app in model.apps:
        try:
            check(app, model.problems)
            found += _app(app, space, facts, model.problems)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            # A list where a mapping belongs, a word where a number does: no field's own check met it.
            model.problems.refuse(f"{app.path}id", f"{app.id} has a value of the wrong kind: {error}")
    order = waves(model.apps, model.problems)
    model.problems.raise_all()
    return found, order


def _app(app: App, space: str, facts: Facts, problems: Problems) -> list[Json]:
    selector = {STACK: space, SERVICE: app.name}
    ports = ports_of(app.path, app.spec, problems)
    for port in ports:
        if {port.host, port.service} & facts.reserved:
            problems.refuse(f"{app.path}ports", f"port {port.host or port.service} is the node's own", "another port")
    kept = storage(app.path, app.spec, facts, problems)
    annotations = {ID: app.id, **_labels(app, problems)}
    pod = {
        "metadata": {"labels": selector, "annotations": annotations},
        "spec": _pod(app, selector, (ports, kept, facts), problems),
    }
    work = _workload(app, pod, selector, kept)
    work["metadata"]["annotations"] = {**annotations, MODE: "replicated"}
    objects = [*_services(app, ports, selector, facts), *kept.secrets.values(), work]
    for obj in objects:
        metadata = obj["metadata"]
        metadata["labels"] = dict(selector)
        metadata.setdefault("annotations", {})[ID] = app.id
    return objects


def _labels(app: App, problems: Problems) -> Json:
    found = {}
    for key, value in (app.spec.get("labels") or {}).items():
        if _ANNOTATION.fullmatch(key):
            found[key] = str(value)
        else:
            problems.warn(f"{app.path}labels.{key}", "ignored: it is no name of an annotation")
    return found


def _pod(app: App, selector: Json, parts: tuple[list[Port], Storage, Facts], problems: Problems) -> Json:
    ports, kept, facts = parts
    spec, docker = app.spec, (app.spec.get("container") or {}).get("docker") or {}
    opened = [
        without_empty({"containerPort": port.target, "protocol": protocol, "hostPort": port.host or None})
        for port in ports for protocol in port.protocols
    ]  # fmt: skip
    user = str(spec.get("user") or "")
    container = without_empty({
        "name": "app", "image": docker.get("image") or ((spec.get("container") or {}).get("appc") or {}).get("image"),
        "imagePullPolicy": "Always" if docker.get("forcePullImage") else "IfNotPresent",
        "command": ["/bin/sh", "-c", literal(spec["cmd"])] if spec.get("cmd") else None,
        "args": [literal(str(word)) for word in spec.get("args") or ()],
        "env": _environment(app, ports, (facts, problems, kept)),
        "ports": opened, "volumeMounts": kept.mounts, "resources": _resources(spec),
        "securityContext": without_empty({
            "privileged": True if docker.get("privileged") else None,
            "runAsUser": int(user) if user.isdigit() else None,
        }),
        "tty": True if spec.get("tty") else None,
        **probes(app.path, spec, ports, problems),
    })  # fmt: skip
    grace = spec.get("taskKillGracePeriodSeconds")
    return without_empty({
        "containers": [container], "volumes": kept.volumes, "tolerations": _tolerations(spec),
        "terminationGracePeriodSeconds": int(grace) if grace is not None else None,
        "enableServiceLinks": False, "automountServiceAccountToken": False,
        **placement(app.path, spec.get("constraints") or [], selector, problems),
    })  # fmt: skip


def _environment(app: App, ports: list[Port], parts: tuple[Facts, Problems, Storage]) -> list[Json]:
    plain: dict[str, str] = {"MARATHON_APP_ID": app.id}
    for at, port in enumerate(ports):
        number = str(port.host or port.target)
        plain |= {f"PORT{at}": number, f"PORT_{port.target}": number}
        if port.name:
            plain["PORT_" + re.sub(r"\W", "_", port.name).upper()] = number
    if ports:
        plain |= {"PORT": plain["PORT0"], "PORTS": ",".join(plain[f"PORT{at}"] for at in range(len(ports)))}
    found: Json = {
        "HOST": {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        "MESOS_TASK_ID": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        **{key: {"value": value} for key, value in plain.items()},
    }
    for key, value in (app.spec.get("env") or {}).items():
        if isinstance(value, dict):
            secret = secret_of(f"{app.path}env.{key}", app.spec, str(value.get("secret")), parts)
            found[key] = {"valueFrom": {"secretKeyRef": {"name": secret, "key": KEY}}}
        else:
            found[key] = {"value": literal(str(value))}
    return [{"name": key, **found[key]} for key in sorted(found)]


def _resources(spec: Json) -> Json:
    """Mesos reserves CPUs and bounds memory; a missing field has Marathon's default."""
    memory, cpus, disk, gpus = (
        float(spec.get(key, rest)) for key, rest in (("mem", 128), ("cpus", 1), ("disk", 0), ("gpus", 0))
    )
    requests = {"cpu": f"{round(cpus * 1000)}m", "memory": f"{math.ceil(memory)}Mi"}
    limits = {"memory": requests["memory"]}
    more = spec.get("resourceLimits") or {}
    if more.get("mem") == "unlimited":
        limits.pop("memory")
    elif more.get("mem"):
        limits["memory"] = f"{math.ceil(more['mem'])}Mi"
    if more.get("cpus") not in (None, "unlimited"):
        limits["cpu"] = f"{round(float(more['cpus']) * 1000)}m"
    if disk:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = f"{math.ceil(disk)}Mi"
    if gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(int(gpus))
    return {"requests": requests, "limits": limits}


def _tolerations(spec: Json) -> list[Json]:
    """unreachableStrategy: how long a task of an unreachable node is waited for."""
    strategy = spec.get("unreachableStrategy")
    if strategy is None:
        return []
    seconds = None if strategy == "disabled" else int(strategy.get("expungeAfterSeconds") or 0)
    keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    return [
        without_empty({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
        for key in keys
    ]


def _workload(app: App, pod: Json, selector: Json, kept: Storage) -> Json:
    count = int(app.spec.get("instances", 1))
    obj: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": app.name}}
    spec: Json = {"replicas": count, "selector": {"matchLabels": selector}, "template": pod, "revisionHistoryLimit": 5}
    if kept.claims:
        more = {"serviceName": app.name, "podManagementPolicy": "Parallel", "volumeClaimTemplates": kept.claims}
        return {**obj, "kind": "StatefulSet", "spec": {**spec, **more}}
    strategy = app.spec.get("upgradeStrategy") or {}
    missing = math.floor((1 - float(strategy.get("minimumHealthCapacity", 1))) * count + 1e-9)
    surplus = math.floor(float(strategy.get("maximumOverCapacity", 1)) * count + 1e-9)
    if not missing and not surplus:
        surplus = 1
    rolling = {"maxUnavailable": missing, "maxSurge": surplus}
    return {**obj, "spec": {**spec, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}


def _services(app: App, ports: list[Port], selector: Json, facts: Facts) -> list[Json]:
    """The app's name, its VIPs, and what is open on every node."""
    inside = {(port.target, protocol): port for port in ports for protocol in port.protocols}
    spec: Json = {"selector": selector}
    if inside:
        spec["ports"] = [_service_port(number, number, protocol) for number, protocol in inside]
    else:
        spec["clusterIP"] = "None"
    found: dict[str, Json] = {app.name: spec}
    for port in ports:
        for name, number in port.vips:
            vip = found.setdefault(name, {"selector": selector, "ports": []})
            if name == app.name and any(one["port"] == number for one in spec.get("ports") or ()):
                continue
            vip["ports"] += [_service_port(number, port.target, protocol) for protocol in port.protocols]
    outside = [
        {"published": port.service, "target": port.target, "protocol": protocol}
        for port in ports if port.service for protocol in port.protocols
    ]  # fmt: skip
    found |= dict(published_services(app.name, outside, selector, facts.addresses))
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": one} for name, one in found.items()
    ]


def _service_port(number: int, target: int, protocol: str) -> Json:
    return {"name": f"p{number}-{protocol.lower()}", "port": number, "targetPort": target, "protocol": protocol}
