"""Names and amounts of resources: which are legal in a container, a pod, a quota and a limit range.

Source: upstream's `validateResourceRequirements`, `ValidateResourceQuantityValue` and `pkg/apis/core/helper`.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api import names, quantity
from tiphys.api.errors import duplicate, forbidden, invalid, not_found, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import NON_NEGATIVE, Errors, follows

_COMPUTE = ("cpu", "memory")
_CONTAINER = frozenset((*_COMPUTE, "ephemeral-storage"))
_OBJECTS = frozenset((
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
))  # fmt: skip
_QUOTA = _CONTAINER | _OBJECTS | {
    f"{kind}.{name}" for kind in ("requests", "limits") for name in _CONTAINER
} | {"requests.storage"}  # fmt: skip
_STANDARD = _QUOTA | {"storage"}
HUGE = "hugepages-"
_HUGE_QUOTA = (HUGE, f"requests.{HUGE}")


def is_native(name: str) -> bool:
    """A resource of upstream's own: without a domain, or of kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Whether a resource is an extended one, such as example.com/gpu: outside kubernetes.io, with a domain."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def overcommits(name: str) -> bool:
    """Whether a container may request less of it than its limit."""
    return is_native(name) and not name.startswith(HUGE)


def is_quota_resource(name: str) -> bool:
    return name in _QUOTA or name.startswith(_HUGE_QUOTA)


def check_name(name: str, path: str) -> Errors:
    """Of any resource."""
    problems = names.qualified_name(name)
    for problem in problems:
        yield invalid(path, name, problem)
    if not problems and "/" not in name and name not in _STANDARD and not name.startswith(_HUGE_QUOTA):
        yield invalid(path, name, "must be a standard resource type or fully qualified")


def check_container_name(name: str, path: str) -> Errors:
    if name in _CONTAINER:
        return
    yield from check_name(name, path)
    if "/" not in name:
        if not name.startswith(HUGE):
            yield invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def check_pod_name(name: str, path: str) -> Errors:
    """Of what a pod as a whole may request."""
    problem = next(check_name(name, path), None)
    if problem is not None:
        yield problem
    elif name not in _COMPUTE and not name.startswith(HUGE):
        yield not_supported(path, name, ("cpu", HUGE, "memory"))


def check_quota_name(name: str, path: str) -> Errors:
    yield from check_name(name, path)
    if "/" not in name and not is_quota_resource(name):
        yield invalid(path, name, "must be a standard resource for quota")


def check_amount(name: str, amount: str, path: str) -> Errors:
    """Not negative, and whole where the resource is counted."""
    value = quantity.parse(amount)
    if value.nanos < 0:
        yield invalid(path, amount, NON_NEGATIVE)
    if name not in _CONTAINER and (name in _OBJECTS or is_extended(name)) and value.milli() % 1000:
        yield invalid(path, amount, "must be an integer")


def check_positive(amount: str, path: str) -> Errors:
    if quantity.parse(amount) <= quantity.ZERO:
        yield invalid(path, amount, "must be greater than zero")


def check_amounts(amounts: Json, path: str, name_rule: Callable[[str, str], Errors]) -> Errors:
    """A map of amounts by resource, such as a quota's `hard`."""
    for name, amount in amounts.items():
        where = f"{path}[{name}]"
        yield from name_rule(name, where)
        yield from check_amount(name, amount, where)


def check_requirements(
    resources: Json, path: str, claims: frozenset[str] = frozenset(), *,
    name_rule: Callable[[str, str], Errors] = check_container_name,
) -> Errors:  # fmt: skip
    """ResourceRequirements; `claims` are the names of the pod's resource claims."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in limits.items():
        yield from _check_pair(name, amount, f"{path}.limits[{name}]", name_rule)
    for name, amount in requests.items():
        where = f"{path}.requests[{name}]"
        yield from _check_pair(name, amount, where, name_rule)
        yield from _check_against_limit(name, amount, limits.get(name), path)
    known = limits.keys() | requests.keys()
    if known and any(name.startswith(HUGE) for name in known) and not known.intersection(_COMPUTE):
        yield forbidden(path, "HugePages require cpu or memory")
    if resources.get("claims"):
        yield from _check_claims(resources["claims"], f"{path}.claims", claims)


def _check_pair(name: str, amount: str, path: str, name_rule: Callable[[str, str], Errors]) -> Errors:
    yield from name_rule(name, path)
    yield from check_amount(name, amount, path)
    if name.startswith(HUGE) and not _divides(name, amount):
        yield invalid(path, amount, f"{amount} is not positive integer multiple of {name}")


def _divides(name: str, amount: str) -> bool:
    try:
        page = quantity.parse(name.removeprefix(HUGE)).value()
    except ValueError:
        return False
    return page > 0 and quantity.parse(amount).value() % page == 0


def _check_against_limit(name: str, amount: str, limit: str | None, path: str) -> Errors:
    if limit is None:
        if not overcommits(name):
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        return
    wanted, most = quantity.parse(amount), quantity.parse(limit)
    if wanted != most and not overcommits(name):
        yield invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
    elif wanted > most:
        yield invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}")


def _check_claims(uses: list[Json], path: str, claims: frozenset[str]) -> Errors:
    """Each use is of a claim of the pod, of which no part is used twice."""
    seen: set[str] = set()
    for index, use in enumerate(uses):
        where, name, request = f"{path}[{index}]", use.get("name") or "", use.get("request") or ""
        if not name:
            yield required(where)
            continue
        key = f"{name}/{request}" if request else name
        if name in seen:
            yield duplicate(where, name)
        else:
            if request:
                yield from follows(request, f"{where}.request", names.dns1123_label)
            if key in seen or (not request and any(other.startswith(f"{name}/") for other in seen)):
                yield duplicate(where, key)
            seen.add(key)
        if name not in claims:
            known = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            yield not_found(where, name, f"must be one of the names in pod.spec.resourceClaims{known}")
