"""Validation of containers: names, images, ports, and what init and ephemeral ones may not have.

Environment, mounts, probes, resources and security have files of their own.
Source: upstream's `validateContainers` in `pkg/apis/core/validation/validation.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_found, not_supported, required, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.env_validation import check_env, check_env_from
from tiphys.kinds.core.mount_validation import check_mounts
from tiphys.kinds.core.probe_validation import PROBES, check_lifecycle, check_probes
from tiphys.kinds.core.resource_validation import check_requirements
from tiphys.kinds.core.security_validation import check_context

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTARTS = ("Always", "Never", "OnFailure")
_MESSAGES = ("File", "FallbackToLogsOnError")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)  # fmt: skip
_MOST_RULES, _MOST_CODES = 20, 255


@dataclass(slots=True)
class Surroundings:
    """What the checks of a container need of its pod: `volumes` that are legal by name, and names of its claims."""

    spec: Json
    path: str
    volumes: dict[str, Json]
    claims: frozenset[str] = frozenset()
    taken: set[str] = field(default_factory=set)

    @property
    def os(self) -> str | None:
        return (self.spec.get("os") or {}).get("name")


def check_containers(around: Surroundings) -> Errors:
    """All containers of a pod, and that their names and host ports differ."""
    spec, path = around.spec, f"{around.path}.containers"
    containers = spec.get("containers")
    if not containers:
        yield required(path)
    else:
        yield from _check_regular(containers, path, around)
        yield from _check_host_ports(containers, path)
    if spec.get("initContainers"):
        yield from _check_init(spec["initContainers"], f"{around.path}.initContainers", around)
    if spec.get("ephemeralContainers"):
        yield from _check_ephemeral(spec["ephemeralContainers"], f"{around.path}.ephemeralContainers", around)


def _check_regular(containers: list[Json], path: str, around: Surroundings) -> Errors:
    for index, container in enumerate(containers):
        where = f"{path}[{index}]"
        yield from _check_container(container, where, around)
        yield from _check_name_free(container, where, around)
        if container.get("lifecycle") is not None:
            grace = around.spec.get("terminationGracePeriodSeconds")
            yield from check_lifecycle(container["lifecycle"], f"{where}.lifecycle", grace, around.os)
        yield from check_probes(container, where)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            yield from _check_restart(container, where)


def _check_name_free(container: Json, path: str, around: Surroundings) -> Errors:
    name = container.get("name") or ""
    if name in around.taken:
        yield duplicate(f"{path}.name", name)
    around.taken.add(name)


def _check_restart(container: Json, path: str) -> Errors:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if rules:
            rule = "must specify restartPolicy when restart rules are used"
            yield required(f"{path}.restartPolicy", rule)
    elif policy not in _RESTARTS:
        yield not_supported(f"{path}.restartPolicy", policy, _RESTARTS)
    if len(rules) > _MOST_RULES:
        yield too_many(f"{path}.restartPolicyRules", len(rules), _MOST_RULES)
    for index, rule_ in enumerate(rules):
        where = f"{path}.restartPolicyRules[{index}]"
        if rule_.get("action") not in ("Restart", "RestartAllContainers"):
            yield not_supported(f"{where}.action", rule_.get("action") or "", ("Restart", "RestartAllContainers"))
        codes = rule_.get("exitCodes")
        if codes is None:
            yield required(f"{where}.exitCodes", "must be specified")
            continue
        if codes.get("operator") not in ("In", "NotIn"):
            yield not_supported(f"{where}.exitCodes.operator", codes.get("operator") or "", ("In", "NotIn"))
        if len(codes.get("values") or ()) > _MOST_CODES:
            yield too_many(f"{where}.exitCodes.values", len(codes["values"]), _MOST_CODES)


def _check_init(containers: list[Json], path: str, around: Surroundings) -> Errors:
    for index, container in enumerate(containers):
        where = f"{path}[{index}]"
        yield from _check_container(container, where, around)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            yield from _check_restart(container, where)
        yield from _check_name_free(container, where, around)
        # They run one by one, so only ports of the same one can collide.
        yield from _check_host_ports([container], path)
        if container.get("restartPolicy") == "Always":
            if container.get("lifecycle") is not None:
                grace = around.spec.get("terminationGracePeriodSeconds")
                yield from check_lifecycle(container["lifecycle"], f"{where}.lifecycle", grace, around.os)
            yield from check_probes(container, where)
            continue
        for name in ("lifecycle", *PROBES):
            if container.get(name) is not None:
                yield forbidden(f"{where}.{name}", _ONLY_SIDECARS)


def _check_ephemeral(containers: list[Json], path: str, around: Surroundings) -> Errors:
    others = frozenset(around.taken)
    for index, container in enumerate(containers):
        where = f"{path}[{index}]"
        yield from _check_container(container, where, around)
        yield from check_image_trimmed(container, where)
        yield from _check_name_free(container, where, around)
        target = container.get("targetContainerName")
        if target and target not in others:
            yield not_found(f"{where}.targetContainerName", target)
        for name in _NOT_EPHEMERAL:
            if container.get(name):
                yield forbidden(f"{where}.{name}", "cannot be set for an Ephemeral Container")
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for name in ("subPath", "subPathExpr"):
                if mount.get(name):
                    rule = "cannot be set for an Ephemeral Container"
                    yield forbidden(f"{where}.volumeMounts[{position}].{name}", rule)


def _check_container(container: Json, path: str, around: Surroundings) -> Errors:
    """What all containers have in common."""
    name = container.get("name")
    if not name:
        yield required(f"{path}.name")
    else:
        for problem in names.dns1123_label(name):
            yield invalid(f"{path}.name", name, problem)
    if not container.get("image"):
        yield required(f"{path}.image")
    message = container.get("terminationMessagePolicy")
    if message not in _MESSAGES:
        yield _wrong(f"{path}.terminationMessagePolicy", message, _MESSAGES)
    if container.get("ports"):
        yield from _check_ports(container["ports"], f"{path}.ports")
    if container.get("env"):
        yield from check_env(container["env"], f"{path}.env")
    if container.get("envFrom"):
        yield from check_env_from(container["envFrom"], f"{path}.envFrom")
    yield from check_mounts(container, path, around.volumes)
    policy = container.get("imagePullPolicy")
    if policy not in PULL_POLICIES:
        yield _wrong(f"{path}.imagePullPolicy", policy, PULL_POLICIES)
    if container.get("resources"):
        yield from check_requirements(container["resources"], f"{path}.resources", around.claims)
    if container.get("resizePolicy"):
        yield from _check_resize_policy(container["resizePolicy"], f"{path}.resizePolicy", around.spec)
    if container.get("securityContext"):
        host_users = around.spec.get("hostUsers") is not False
        yield from check_context(container["securityContext"], f"{path}.securityContext", host_users=host_users)


def _wrong(path: str, value: Any, allowed: tuple[str, ...]) -> Any:
    return not_supported(path, value, allowed) if value else required(path)


def check_image_trimmed(container: Json, path: str) -> Errors:
    """Of pods only: templates have been let through since they first were."""
    image = container.get("image") or ""
    if image and (image[0].isspace() or image[-1].isspace()):
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _check_ports(ports: list[Json], path: str) -> Errors:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where, name = f"{path}[{index}]", port.get("name")
        if name:
            problems = names.port_name(name)
            for problem in problems:
                yield invalid(f"{where}.name", name, problem)
            if not problems and name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
        number, host = port.get("containerPort"), port.get("hostPort")
        if not number:
            yield required(f"{where}.containerPort")
        else:
            for problem in names.port_number(number):
                yield invalid(f"{where}.containerPort", number, problem)
        if host:
            for problem in names.port_number(host):
                yield invalid(f"{where}.hostPort", host, problem)
        if port.get("protocol") not in PROTOCOLS:
            yield _wrong(f"{where}.protocol", port.get("protocol"), PROTOCOLS)


def _check_host_ports(containers: list[Json], path: str) -> Errors:
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                taken = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
                if taken in seen:
                    yield duplicate(f"{path}[{index}].ports[{position}].hostPort", taken)
                seen.add(taken)


def _check_resize_policy(policies: list[Json], path: str, spec: Json) -> Errors:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            yield duplicate(f"{path}[{index}]", resource)
        seen.add(resource)
        if resource not in ("cpu", "memory"):
            yield _wrong(path, resource, ("cpu", "memory"))
        if restart not in ("NotRequired", "RestartContainer"):
            yield _wrong(path, restart, ("NotRequired", "RestartContainer"))
        if spec.get("restartPolicy") == "Never" and restart != "NotRequired":
            yield invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
