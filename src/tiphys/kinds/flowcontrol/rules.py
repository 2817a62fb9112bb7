"""The rules of a FlowSchema: whose requests, and which. Source: upstream's `pkg/apis/flowcontrol/validation`."""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_FIELDS = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}


def check_rule(rule: Json, path: str) -> Errors:
    subjects = rule.get("subjects") or []
    if not subjects:
        yield required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        yield from _check_subject(subject, f"{path}.subjects[{index}]")
    resources, others = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not others:
        yield required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, part in enumerate(resources):
        yield from _check_resources(part, f"{path}.resourceRules[{index}]")
    for index, part in enumerate(others):
        yield from _check_urls(part, f"{path}.nonResourceRules[{index}]")


def _check_subject(subject: Json, path: str) -> Errors:
    kind = subject.get("kind") or ""
    if kind not in _FIELDS:
        yield not_supported(f"{path}.kind", kind, sorted(_FIELDS))
        return
    field = _FIELDS[kind]
    who = subject.get(field)
    if who is None:
        yield required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'")
    else:
        yield from _check_who(kind, who, f"{path}.{field}")
    for other, unwanted in _FIELDS.items():
        if other != kind and subject.get(unwanted) is not None:
            yield forbidden(f"{path}.{unwanted}", f"{unwanted} is forbidden when subject kind is not '{other}'")


def _check_who(kind: str, who: Json, path: str) -> Errors:
    name = who.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    elif kind == "ServiceAccount" and name != "*":
        yield from follows(name, f"{path}.name", names.dns1123_subdomain)
    if kind == "ServiceAccount" and not who.get("namespace"):
        yield required(f"{path}.namespace", "must specify namespace for service account")
    elif kind == "ServiceAccount":
        yield from follows(who["namespace"], f"{path}.namespace", names.dns1123_label)


def _check_verbs(rule: Json, path: str) -> Errors:
    verbs = rule.get("verbs") or []
    if not verbs:
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" in verbs:
        yield from _check_wildcard(verbs, f"{path}.verbs", "verbs")
    elif not set(verbs) <= set(_VERBS):
        yield not_supported(f"{path}.verbs", verbs, _VERBS)


def _check_wildcard(values: list[str], path: str, what: str) -> Errors:
    if "*" in values and len(values) > 1:
        yield invalid(path, values, f"if '*' is present, must not specify other {what}")


def _check_resources(rule: Json, path: str) -> Errors:
    yield from _check_verbs(rule, path)
    for field, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        if not rule.get(field):
            yield required(f"{path}.{field}", f"resource rules must supply at least one {one}")
        else:
            yield from _check_wildcard(rule[field], f"{path}.{field}", many)
    namespaces = rule.get("namespaces") or []
    if not namespaces and not rule.get("clusterScope"):
        rule_ = "resource rules that are not cluster scoped must supply at least one namespace"
        yield required(f"{path}.namespaces", rule_)
    elif "*" in namespaces:
        yield from _check_wildcard(namespaces, f"{path}.namespaces", "namespaces")
    else:
        for index, namespace in enumerate(namespaces):
            for problem in names.dns1123_label(namespace):
                rule_ = f"each member of this list must be '*' or a DNS-1123 label; {problem}"
                yield invalid(f"{path}.namespaces[{index}]", namespace, rule_)


def _check_urls(rule: Json, path: str) -> Errors:
    yield from _check_verbs(rule, path)
    urls, where = rule.get("nonResourceURLs") or [], f"{path}.nonResourceURLs"
    if not urls:
        yield required(where, "nonResourceURLs must contain at least one value")
    elif "*" in urls:
        yield from _check_wildcard(urls, where, "non-resource URLs")
    else:
        for index, url in enumerate(urls):
            problem = _url_problem(url)
            if problem is not None:
                yield invalid(f"{where}[{index}]", url, problem)


def _url_problem(url: str) -> str | None:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    if stars > 1 or (stars == 1 and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return None


def check_condition_types(conditions: list[Json], path: str) -> Errors:
    """Of either kind's status."""
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where, kind = f"{path}[{index}].type", condition.get("type") or ""
        if kind in seen:
            yield duplicate(where, kind)
        seen.add(kind)
        if not kind:
            yield required(where, "must not be empty")
