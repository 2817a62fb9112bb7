"""What the RBAC kinds share: names that are path segments, subjects, rules, an immutable roleRef.

Source: upstream's `pkg/apis/rbac/validation/validation.go` and `pkg/apis/rbac/v1/defaults.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, label_selector
from tiphys.kinds.columns import AGE, NAME, column, joined
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.rbac.rules import GROUP
from tiphys.kinds.strategy import KindStrategy


class _RbacStrategy(KindStrategy):
    name_rule = staticmethod(names.path_segment)

    def __init__(self, *, namespaced: bool) -> None:
        self.namespaced = namespaced


class RoleStrategy(_RbacStrategy):
    """Role and ClusterRole."""

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        for index, rule in enumerate(new.get("rules") or ()):
            yield from _check_rule(rule, f"rules[{index}]", namespaced=self.namespaced)
        aggregation = new.get("aggregationRule")
        if aggregation is not None:
            selectors = aggregation.get("clusterRoleSelectors") or ()
            if not selectors:
                yield required(
                    "aggregationRule.clusterRoleSelectors",
                    "at least one clusterRoleSelector required if aggregationRule is non-nil",
                )
            for index, selector in enumerate(selectors):
                yield from label_selector(selector, f"aggregationRule.clusterRoleSelectors[{index}]")


def _check_rule(rule: Json, path: str, *, namespaced: bool) -> Errors:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if namespaced:
            yield invalid(
                f"{path}.nonResourceURLs", rule["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs"
            )
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            yield invalid(
                f"{path}.nonResourceURLs", rule["nonResourceURLs"],
                "rules cannot apply to both regular resources and non-resource URLs",
            )  # fmt: skip
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


class BindingStrategy(_RbacStrategy):
    """RoleBinding and ClusterRoleBinding."""

    def default(self, new: Json) -> None:
        reference = new.get("roleRef")
        if reference:
            put_text(reference, "apiGroup", GROUP)
        for subject in new.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        reference = new.get("roleRef") or {}
        if reference.get("apiGroup") != GROUP:
            yield not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,))
        kinds = ("Role", "ClusterRole") if self.namespaced else ("ClusterRole",)
        if reference.get("kind") not in kinds:
            yield not_supported("roleRef.kind", reference.get("kind") or "", kinds)
        if not reference.get("name"):
            yield required("roleRef.name")
        else:
            yield from follows(reference["name"], "roleRef.name", names.path_segment)
        for index, subject in enumerate(new.get("subjects") or ()):
            yield from self._check_subject(subject, f"subjects[{index}]")
        if old is not None and reference != (old.get("roleRef") or {}):
            yield invalid("roleRef", reference, "cannot change roleRef")

    def _check_subject(self, subject: Json, path: str) -> Errors:
        kind, group = subject.get("kind") or "", subject.get("apiGroup") or ""
        if not subject.get("name"):
            yield required(f"{path}.name")
        if kind not in ("ServiceAccount", "User", "Group"):
            yield not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))
        elif kind == "ServiceAccount":
            for problem in names.dns1123_subdomain(subject.get("name") or "x"):
                yield invalid(f"{path}.name", subject["name"], problem)
            if group:
                yield not_supported(f"{path}.apiGroup", group, ("",))
            if not self.namespaced and not subject.get("namespace"):
                yield required(f"{path}.namespace")
        else:
            if not subject.get("name"):
                yield invalid(f"{path}.name", "", f"{kind.lower()} name cannot be empty")
            if group != GROUP:
                yield not_supported(f"{path}.apiGroup", group, (GROUP,))


def _subjects(kind: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        found = []
        for subject in obj.get("subjects") or ():
            if subject.get("kind") == kind:
                name = subject.get("name", "")
                found.append(f"{subject.get('namespace', '')}/{name}" if kind == "ServiceAccount" else name)
        return joined(found, empty="")

    return read


BINDING_COLUMNS = (
    NAME,
    column("Role", lambda obj: f"{dig(obj, 'roleRef', 'kind') or ''}/{dig(obj, 'roleRef', 'name') or ''}"),
    AGE,
    column("Users", _subjects("User"), wide=True),
    column("Groups", _subjects("Group"), wide=True),
    column("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
