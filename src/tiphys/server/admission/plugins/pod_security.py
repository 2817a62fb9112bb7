"""PodSecurity: a namespace's labels say which pods may run in it, which are warned of and which are noted.

The checks are of the newest version of the standards, whatever version a label asks for.
Source: https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tiphys.api import errors
from tiphys.api.errors import FieldError, invalid
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.admission.plugins.pod_security_checks import LEVELS, violations
from tiphys.server.cache import Cache

_PREFIX = "pod-security.kubernetes.io/"
_NAMESPACES, _PODS = "/registry/core/namespaces/", "/registry/core/pods/"
_MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"latest|v1\.\d+")
# Where the pod's template is, in kinds that make pods: they are warned of and noted, their pods refused.
_TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",), ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"), ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"), ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"), ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}  # fmt: skip
# A namespace with more pods than this is not looked through when its labels change.
_MOST_PODS = 3000


class PodSecurity(Plugin):
    def __init__(self, cache: Cache) -> None:
        self._namespaces, self._pods = cache.of(_NAMESPACES), cache.of(_PODS)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE") or attributes.obj is None:
            return
        if attributes.is_for("", "namespaces"):
            self._check_namespace(attributes)
            return
        entry = self._namespaces.items.get(_NAMESPACES + attributes.namespace)
        if entry is None or not any(label.startswith(_PREFIX) for label in entry.labels):
            return
        if attributes.is_of("", "pods"):
            if _significant(attributes):
                self._check_pod(attributes, entry.labels)
            return
        path = _TEMPLATES.get((attributes.resource.group, attributes.resource.plural))
        if path is not None and not attributes.subresource:
            template: Any = attributes.obj
            for name in path:
                template = (template or {}).get(name)
            if template and template.get("spec"):
                self._tell(attributes, entry.labels, template)

    def _check_pod(self, attributes: Attributes, labels: Mapping[str, str]) -> None:
        pod = attributes.obj or {}
        level = labels.get(f"{_PREFIX}enforce", "privileged")
        found = violations(level, pod["metadata"], pod["spec"])
        if found:
            why = f'violates PodSecurity "{_shown(labels, "enforce")}": {", ".join(found)}'
            raise errors.denied("", "pods", attributes.name, why)
        self._tell(attributes, labels, pod)

    def _tell(self, attributes: Attributes, labels: Mapping[str, str], pod: Json) -> None:
        for mode in ("audit", "warn"):
            found = violations(labels.get(_PREFIX + mode, "privileged"), pod.get("metadata") or {}, pod["spec"])
            if found:
                text = f'would violate PodSecurity "{_shown(labels, mode)}": {", ".join(found)}'
                if mode == "warn":
                    attributes.warnings.append(text)
                else:
                    attributes.annotations[f"{_PREFIX}audit-violations"] = text

    def _check_namespace(self, attributes: Attributes) -> None:
        labels = ((attributes.obj or {})["metadata"].get("labels")) or {}
        old = ((attributes.old or {}).get("metadata") or {}).get("labels") or {}
        if not any(label.startswith(_PREFIX) for label in labels):
            return
        problems = [problem for problem in _problems(labels) if labels != old]
        if problems:
            raise errors.invalid_object("", "Namespace", attributes.name, problems)
        level = labels.get(f"{_PREFIX}enforce", "privileged")
        if attributes.operation == "UPDATE" and level != old.get(f"{_PREFIX}enforce", "privileged"):
            attributes.warnings.extend(self._existing(attributes.name, level, _shown(labels, "enforce")))

    def _existing(self, namespace: str, level: str, shown: str) -> list[str]:
        """Which pods there are that the new level would not let in, by what they violate."""
        by_violation: dict[str, list[str]] = {}
        for count, entry in enumerate(self._pods.scan(f"{_PODS}{namespace}/")):
            if count >= _MOST_PODS:
                break
            pod = entry.decode()
            found = violations(level, pod["metadata"], pod["spec"])
            if found:
                by_violation.setdefault(", ".join(found), []).append(entry.name)
        if not by_violation:
            return []
        head = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{shown}"'
        return [head, *(f"{_pods(names)}: {text}" for text, names in by_violation.items())]


def _significant(attributes: Attributes) -> bool:
    """Of updates only those that change what runs."""
    if attributes.subresource not in ("", "ephemeralcontainers"):
        return False
    return attributes.operation == "CREATE" or (attributes.obj or {})["spec"] != (attributes.old or {})["spec"]


def _shown(labels: Mapping[str, str], mode: str) -> str:
    return f"{labels.get(_PREFIX + mode, 'privileged')}:{labels.get(f'{_PREFIX}{mode}-version', 'latest')}"


def _pods(names: list[str]) -> str:
    others = len(names) - 1
    more = f" (and {others} other pod{'s' if others > 1 else ''})" if others else ""
    return f"{names[0]}{more}"


def _problems(labels: Mapping[str, str]) -> list[FieldError]:
    found = []
    for mode in _MODES:
        level, version = labels.get(_PREFIX + mode), labels.get(f"{_PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            path = f"metadata.labels[{_PREFIX}{mode}]"
            found.append(invalid(path, level, f"must be one of {', '.join(LEVELS)}"))
        if version is not None and not _VERSION.fullmatch(version):
            path = f"metadata.labels[{_PREFIX}{mode}-version]"
            found.append(invalid(path, version, 'must be "latest" or "v1.x"'))
    return found
