"""What the rules of webhooks and policies may say.

Source: upstream's `pkg/apis/admissionregistration/validation/validation.go`.
"""

from __future__ import annotations

from tiphys.api.errors import invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, one_of

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")


def check_rules(rules: list[Json] | None, path: str) -> Errors:
    for index, rule in enumerate(rules or ()):
        where = f"{path}[{index}]"
        for field, what in (("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")):
            yield from _check_list(rule.get(field) or [], f"{where}.{field}", what)
        for position, operation in enumerate(rule.get("operations") or ()):
            yield from one_of({f"operations[{position}]": operation}, where, f"operations[{position}]", OPERATIONS)
        for position, version in enumerate(rule.get("apiVersions") or ()):
            if not version:
                yield required(f"{where}.apiVersions[{position}]")
        yield from _check_resources(rule.get("resources") or [], f"{where}.resources")
        yield from one_of(rule, where, "scope", _SCOPES)


def _check_list(values: list[str], path: str, what: str) -> Errors:
    if not values:
        yield required(path)
    elif len(values) > 1 and "*" in values:
        yield invalid(path, values, f"if '*' is present, must not specify other {what}")


def _check_resources(resources: list[str], path: str) -> Errors:
    if not resources:
        yield required(path)
    of_every, every_of = set[str](), set[str]()
    for index, resource in enumerate(resources):
        where = f"{path}[{index}]"
        if not resource:
            yield required(where)
        if resource in ("", "*", "*/*") or "/" not in resource:
            continue
        name, _, sub = resource.partition("/")
        if name in every_of:
            yield invalid(where, resource, f"if '{name}/*' is present, must not specify {resource}")
        if sub in of_every:
            yield invalid(where, resource, f"if '*/{sub}' is present, must not specify {resource}")
        if sub == "*":
            every_of.add(name)
        if name == "*":
            of_every.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        yield invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and any("/" not in resource and resource != "*" for resource in resources):
        why = "if '*' is present, must not specify other resources without subresources"
        yield invalid(path, resources, why)
