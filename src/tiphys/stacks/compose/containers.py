"""The container of a service, but for volumes and ports: words, environment, rights, resources, health.

Source: https://docs.docker.com/reference/compose-file/services/
"""

from __future__ import annotations

import math
import os
import re
import shlex
from typing import Any

from tiphys.stacks import units
from tiphys.stacks.compose.load import Model, dotenv
from tiphys.stacks.compose.merging import pairs
from tiphys.stacks.objects import literal, without_empty
from tiphys.stacks.problems import Problems, Refused

Json = dict[str, Any]
# Swarm's templates, and the field of the pod that has the value.
_FIELDS = {
    "Node.Hostname": "spec.nodeName", "Node.ID": "spec.nodeName",
    "Task.Name": "metadata.name", "Task.ID": "metadata.uid",
}  # fmt: skip
_UNPRIVILEGED = frozenset({"no-new-privileges", "no-new-privileges:true"})
_TEMPLATE = re.compile(r"\{\{\s*\.([A-Za-z.]+)\s*\}\}")


def container(model: Model, stack: str, name: str, service: Json) -> Json:
    path, problems = f"services.{name}", model.problems
    return without_empty({
        "name": "app",
        "image": service.get("image"),
        "imagePullPolicy": _pull_policy(path, service, problems),
        "command": words(path, "entrypoint", service, problems),
        "args": words(path, "command", service, problems),
        "workingDir": service.get("working_dir"),
        "env": _environment(model, stack, name, service),
        "resources": resources(path, service, problems),
        "securityContext": _security(path, service, problems),
        "stdin": True if service.get("stdin_open") else None,
        "tty": True if service.get("tty") else None,
        **probes(f"{path}.healthcheck", service.get("healthcheck"), problems),
    })  # fmt: skip


def words(path: str, field: str, service: Json, problems: Problems) -> list[str] | None:
    """A command in words; a text is split as a shell does, without a shell's expansions."""
    value = service.get(field)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            problems.refuse(f"{path}.{field}", f"cannot be split into words: {error}")
            return None
    if not value and field == "entrypoint":
        problems.warn(f"{path}.{field}", "an empty entrypoint leaves the image's own")
    return [literal(str(word)) for word in value]


def _pull_policy(path: str, service: Json, problems: Problems) -> str:
    policy = str(service.get("pull_policy") or "missing")
    known = {"missing": "IfNotPresent", "if_not_present": "IfNotPresent", "always": "Always", "never": "Never"}
    if policy not in known:
        problems.refuse(f"{path}.pull_policy", f"{policy!r} is not honoured", "always, missing or never")
    return known.get(policy, "IfNotPresent")


def _environment(model: Model, stack: str, name: str, service: Json) -> list[Json]:
    found: dict[str, str] = {}
    for file in _env_files(service):
        where = os.path.join(model.directory, file["path"])
        if file.get("required", True) and not os.path.exists(where):
            model.problems.refuse(f"services.{name}.env_file", f"there is no file {where}")
        try:
            found.update(dotenv(where))
        except Refused as refused:
            model.problems.errors += refused.errors
    for key, value in pairs(service.get("environment")).items():
        if value is not None:
            found[key] = _text(value)
        elif key in model.environment:
            found[key] = model.environment[key]
    fields: dict[str, str] = {}
    env = [
        {
            "name": key,
            "value": _templated(f"services.{name}.environment.{key}", value, (stack, name), (fields, model.problems)),
        }
        for key, value in sorted(found.items())
    ]
    helpers = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": field}}} for key, field in sorted(fields.items())]
    return helpers + env


def _env_files(service: Json) -> list[Json]:
    value = service.get("env_file") or []
    return [one if isinstance(one, dict) else {"path": one} for one in ([value] if isinstance(value, str) else value)]


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _templated(path: str, text: str, names: tuple[str, str], into: tuple[dict[str, str], Problems]) -> str:
    """Swarm's `{{.Node.Hostname}}` and the like by way of variables that the kubelet fills."""
    fields, problems = into

    def put(found: re.Match[str]) -> str:
        word = found[1]
        if word == "Service.Name":
            return f"{names[0]}_{names[1]}"
        if word in _FIELDS:
            variable = "SWARM_" + word.replace(".", "_").upper()
            fields[variable] = _FIELDS[word]
            return f"$({variable})"
        problems.refuse(
            path, f"the template {found[0]} has no counterpart", ", ".join(f"{{{{.{w}}}}}" for w in _FIELDS)
        )
        return ""

    return _TEMPLATE.sub(put, literal(text))


def resources(path: str, service: Json, problems: Problems) -> Json:
    """Limits and requests. Where Swarm reserves nothing, nothing is requested: 0 says so."""
    given = (service.get("deploy") or {}).get("resources") or {}
    limits, requests = dict(given.get("limits") or {}), dict(given.get("reservations") or {})
    limits = {"cpus": service.get("cpus"), "memory": service.get("mem_limit"), **limits}
    requests = {"memory": service.get("mem_reservation"), **requests}
    where = f"{path}.deploy.resources"
    if limits.pop("pids", None) is not None:
        problems.warn(f"{where}.limits.pids", "ignored; the kubelet's podPidsLimit bounds all pods")
    extended = _extended(f"{where}.reservations", requests, problems)
    found_limits = {**_amounts(f"{where}.limits", limits, problems), **extended}
    found_requests = {**_amounts(f"{where}.reservations", requests, problems), **extended}
    return without_empty({
        "limits": found_limits,
        "requests": {**{key: "0" for key in found_limits if key in ("cpu", "memory")}, **found_requests},
    })  # fmt: skip


def _amounts(path: str, given: Json, problems: Problems) -> Json:
    found: Json = {}
    for key, read, name in (("cpus", units.cpus, "cpu"), ("memory", units.size, "memory")):
        value = given.pop(key, None)
        if value is None:
            continue
        try:
            found[name] = str(read(value))
        except ValueError as error:
            problems.refuse(f"{path}.{key}", str(error))
    for key in given:
        problems.refuse(f"{path}.{key}", "no such resource", "cpus, memory or generic_resources")
    return found


def _extended(path: str, requests: Json, problems: Problems) -> Json:
    found: Json = {}
    for at, one in enumerate(requests.pop("generic_resources", None) or ()):
        spec = one.get("discrete_resource_spec") or {}
        kind = str(spec.get("kind", ""))
        if kind.lower() in ("gpu", "nvidia-gpu"):
            kind = "nvidia.com/gpu"
        if "/" not in kind:
            where = f"{path}.generic_resources[{at}].discrete_resource_spec.kind"
            problems.refuse(
                where,
                f"{kind!r} is no extended resource",
                f"a name with a domain, as nodes have it: example.com/{kind}",
            )
        found[kind] = str(spec.get("value", 1))
    for at, one in enumerate(requests.pop("devices", None) or ()):
        where = f"{path}.devices[{at}]"
        if "gpu" not in (one.get("capabilities") or []):
            problems.refuse(where, "only capabilities: [gpu] is known", "generic_resources")
        elif one.get("count") in (None, "all") and not one.get("device_ids"):
            problems.refuse(f"{where}.count", "all devices of a node cannot be asked for", "a number")
        else:
            found["nvidia.com/gpu"] = str(one.get("count") or len(one["device_ids"]))
    return found


def _security(path: str, service: Json, problems: Problems) -> Json:
    user, group = _identity(path, str(service.get("user", "")), problems)
    caps = {
        key: [str(cap).upper().removeprefix("CAP_") for cap in service.get(field) or ()]
        for key, field in (("add", "cap_add"), ("drop", "cap_drop"))
    }
    options = [str(option) for option in service.get("security_opt") or ()]
    return without_empty({
        "capabilities": without_empty(caps),
        "runAsUser": user, "runAsGroup": group,
        "privileged": True if service.get("privileged") else None,
        "readOnlyRootFilesystem": True if service.get("read_only") else None,
        "allowPrivilegeEscalation": False if set(options) & _UNPRIVILEGED else None,
    })  # fmt: skip


def _identity(path: str, text: str, problems: Problems) -> tuple[int | None, int | None]:
    if not text:
        return None, None
    user, _, group = text.partition(":")
    if user == "root":
        user = "0"
    if not user.isdigit() or (group and not group.isdigit()):
        problems.refuse(
            f"{path}.user", f"{text!r} is a name, which only the image could translate", "numbers: UID or UID:GID"
        )
        return None, None
    return int(user), int(group) if group else None


def probes(path: str, check: Any, problems: Problems) -> Json:
    """Docker's one check is three here: it holds traffic back, restarts, and waits for the start."""
    if not isinstance(check, dict) or check.get("disable"):
        return {}
    test = check.get("test")
    command = ["CMD-SHELL", test] if isinstance(test, str) else [str(word) for word in test or ()]
    if not command:
        problems.warn(path, "without a test there is no probe: the image's own HEALTHCHECK is not read")
        return {}
    if command[0] == "NONE":
        return {}
    if command[0] not in ("CMD", "CMD-SHELL"):
        problems.refuse(f"{path}.test", f"{command[0]!r} is no kind of test", "CMD, CMD-SHELL or NONE")
        return {}
    words_ = ["/bin/sh", "-c", " ".join(command[1:])] if command[0] == "CMD-SHELL" else command[1:]
    times = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0, "start_interval": 5.0}
    for key in times:
        try:
            times[key] = units.seconds(check[key]) if check.get(key) is not None else times[key]
        except ValueError as error:
            problems.refuse(f"{path}.{key}", str(error))
    retries = int(check.get("retries") or 3)
    action = {
        "exec": {"command": [literal(word) for word in words_]},
        "timeoutSeconds": max(1, math.ceil(times["timeout"])),
    }
    period = max(1, math.ceil(times["interval"] or 30))
    early = max(1, min(period, math.ceil(times["start_interval"] or 5)))
    patience = math.ceil((times["start_period"] + retries * period) / early)
    return {
        "startupProbe": {**action, "periodSeconds": early, "failureThreshold": patience},
        "livenessProbe": {**action, "periodSeconds": period, "failureThreshold": retries},
        "readinessProbe": {**action, "periodSeconds": period, "failureThreshold": retries},
    }
