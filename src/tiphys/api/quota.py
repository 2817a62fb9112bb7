"""What counts against a ResourceQuota: which quotas an object falls under, and what it uses of them.

Shared by admission, which charges, and the controller, which counts again. Pure.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiphys.api.pod_resources import Amounts, add, best_effort, totals
from tiphys.api.quantity import ZERO, Quantity, of, parse
from tiphys.api.resource import Json
from tiphys.api.selectors import from_object
from tiphys.api.time import seconds

ONE = of(1)
# Counted by a bare name too, from before there was count/.
_LEGACY = ("configmaps", "secrets", "replicationcontrollers", "resourcequotas")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CONSTRAINED = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_CLASS, _DEVICES = ".storageclass.storage.k8s.io/", ".deviceclass.resource.k8s.io/devices"
_FINISHED = ("Succeeded", "Failed")


def counted_as(group: str, plural: str) -> str:
    return f"count/{plural}.{group}" if group else f"count/{plural}"


def concerned(group: str, plural: str, names: Iterable[str]) -> set[str]:
    """Those of a quota's resource names that objects of this resource use."""
    count = counted_as(group, plural)
    return {name for name in names if name == count or _is_of(group, plural, name)}


def _is_of(group: str, plural: str, name: str) -> bool:
    if plural == "resourceclaims" and group == "resource.k8s.io":
        return name.endswith(_DEVICES)
    if group:
        return False
    if plural == "pods":
        return name == "pods" or _is_compute(name)
    if plural == "services":
        return name in ("services", "services.nodeports", "services.loadbalancers")
    if plural == "persistentvolumeclaims":
        return name in ("persistentvolumeclaims", "requests.storage") or _CLASS in name
    return plural in _LEGACY and name == plural


def _is_compute(name: str) -> bool:
    kind, _, rest = name.partition(".")
    if kind == "limits":
        return rest in _COMPUTE
    if kind == "requests":
        return rest in _COMPUTE or rest.startswith("hugepages-") or "/" in rest
    return name in _COMPUTE or name.startswith("hugepages-")


def resources_of(name: str) -> tuple[str, str]:
    """The (group, plural) whose objects a quota's resource name counts."""
    if name.startswith("count/"):
        plural, _, group = name.removeprefix("count/").partition(".")
        return group, plural
    for plural in ("pods", "services", "persistentvolumeclaims"):
        if _is_of("", plural, name):
            return "", plural
    return ("resource.k8s.io", "resourceclaims") if name.endswith(_DEVICES) else ("", name)


def usage(group: str, plural: str, obj: Json, now: float) -> Amounts:
    """What the object uses, by the resource names that a quota may have; `now` in unix seconds."""
    used: Amounts = {counted_as(group, plural): ONE}
    if plural == "resourceclaims" and group == "resource.k8s.io":
        add(used, _devices(obj))
    if group:
        return used
    if plural == "pods":
        used |= _pod(obj, now)
    elif plural == "services":
        used |= _service(obj["spec"])
    elif plural == "persistentvolumeclaims":
        used |= _claim(obj)
    elif plural in _LEGACY:
        used[plural] = ONE
    return used


def _pod(pod: Json, now: float) -> Amounts:
    if not charged(pod, now):
        return {}
    spec, used = pod["spec"], {"pods": ONE}
    for name, amount in totals(spec, "requests").items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = amount
        used[f"requests.{name}"] = amount
    for name, amount in totals(spec, "limits").items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = amount
    return used


def charged(pod: Json, now: float) -> bool:
    """Whether a pod still holds what it asked for: not finished, nor past the grace of its deletion."""
    if (pod.get("status") or {}).get("phase") in _FINISHED:
        return False
    # The deletionTimestamp is the end of the grace period already.
    deleted = pod["metadata"].get("deletionTimestamp")
    return not deleted or now <= seconds(deleted)


def _service(spec: Json) -> Amounts:
    used, kind, ports = {"services": ONE}, spec.get("type"), spec.get("ports") or ()
    if kind == "NodePort":
        used["services.nodeports"] = of(len(ports))
    elif kind == "LoadBalancer":
        used["services.loadbalancers"] = ONE
        every = spec.get("allocateLoadBalancerNodePorts") is not False
        used["services.nodeports"] = of(len(ports) if every else sum(1 for port in ports if port.get("nodePort")))
    return used


def _claim(claim: Json) -> Amounts:
    spec = claim["spec"]
    size = parse(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "0")
    used = {"persistentvolumeclaims": ONE, "requests.storage": size}
    annotations = claim["metadata"].get("annotations") or {}
    name = spec.get("storageClassName") or annotations.get("volume.beta.kubernetes.io/storage-class")
    if name:
        used[f"{name}{_CLASS}requests.storage"] = size
        used[f"{name}{_CLASS}persistentvolumeclaims"] = ONE
    return used


def _devices(claim: Json) -> Amounts:
    used: Amounts = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        exact = request.get("exactly")
        options = [exact] if exact else request.get("firstAvailable") or ()
        for option in options:
            name = f"{option.get('deviceClassName', '')}{_DEVICES}"
            used[name] = max(used.get(name, ZERO), of(option.get("count") or 1))
    return used


def matches(quota: Json, group: str, plural: str, obj: Json) -> bool:
    """Whether the object is in the scopes of the quota, all of them."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not terms:
        return True
    if group or plural not in ("pods", "persistentvolumeclaims"):
        return False
    return all(_in_pod_scope(term, obj) if plural == "pods" else _in_claim_scope(term, obj) for term in terms)


def _in_pod_scope(term: Json, pod: Json) -> bool:
    spec, name = pod["spec"], term["scopeName"]
    if name in ("Terminating", "NotTerminating"):
        limited = spec.get("activeDeadlineSeconds") is not None
        return limited is (name == "Terminating")
    if name in ("BestEffort", "NotBestEffort"):
        return best_effort(spec) is (name == "BestEffort")
    if name == "CrossNamespacePodAffinity":
        return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in _terms(spec))
    if name == "PriorityClass":
        own = spec.get("priorityClassName")
        return _selected(term, [own] if own else [])
    return False


def _in_claim_scope(term: Json, claim: Json) -> bool:
    if term["scopeName"] != "VolumeAttributesClass":
        return False
    status = claim.get("status") or {}
    names = (
        claim["spec"].get("volumeAttributesClassName"), status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )  # fmt: skip
    return _selected(term, [name for name in dict.fromkeys(names) if name])


def _selected(term: Json, own: list[str]) -> bool:
    if term["operator"] == "Exists":
        return bool(own)
    if term["operator"] == "DoesNotExist":
        return not own
    wanted = {"key": "name", "operator": term["operator"], "values": term.get("values") or []}
    selector = from_object({"matchExpressions": [wanted]})
    return any(selector.matches({"name": name}) for name in own) if own else selector.matches({})


def _terms(spec: Json) -> Iterator[Json]:
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        yield from affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for weighted in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}


def unconstrained(names: Iterable[str], pod: Json) -> str:
    """What a pod under a quota of `names` must say and does not: upstream's text, or nothing.

    A pod that says it for itself says it for its containers.
    """
    required = [name for name in sorted(names) if name in _CONSTRAINED]
    spec = pod["spec"]
    missing: dict[str, list[str]] = {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for name in required:
            kind, _, resource = name.rpartition(".")
            kind = kind or "requests"
            holders = (container.get("resources") or {}, spec.get("resources") or {})
            if not any(resource in (holder.get(kind) or {}) for holder in holders):
                missing.setdefault(name, []).append(container["name"])
    return "; ".join(f"{name} for: {','.join(sorted(containers))}" for name, containers in missing.items())


def shown(amounts: dict[str, Quantity]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))
