"""The flow control that every cluster starts with: upstream's mandatory and suggested schemas and levels.

Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#defaults
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.resource import Json

_API = "/apis/flowcontrol.apiserver.k8s.io/v1"
_AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"
# Of the suggested levels: shares, lendable percent, queues, hand size, length of a queue.
_LEVELS = {
    "system": (30, 33, 64, 6, 50), "node-high": (40, 25, 64, 6, 50), "leader-election": (10, 0, 16, 4, 50),
    "workload-high": (40, 50, 128, 6, 50), "workload-low": (100, 90, 128, 6, 50),
    "global-default": (20, 50, 128, 6, 50),
}  # fmt: skip
_EVERYBODY = ("Group system:unauthenticated", "Group system:authenticated")
_CONTROLLER = "ServiceAccount kube-system/"
_EVERYTHING = "* | * | *"
_LEASES = "get create update | coordination.k8s.io | leases"
# Name: (level, precedence, what tells flows apart, subjects, rules). A rule is `verbs | API groups | resources [|
# namespaces]`, cluster-wide too unless it names namespaces; or `verbs | URLs`.
_SCHEMAS: dict[str, tuple[str, int, str, tuple[str, ...], tuple[str, ...]]] = {
    "exempt": ("exempt", 1, "", ("Group system:masters",), (_EVERYTHING, "* | *")),
    "probes": ("exempt", 2, "", _EVERYBODY, ("get | /healthz /readyz /livez",)),
    "system-leader-election": (
        "leader-election", 100, "ByUser",
        ("User system:kube-controller-manager", "User system:kube-scheduler", f"{_CONTROLLER}*"),
        ("get create update | coordination.k8s.io | leases | kube-system",),
    ),
    "endpoint-controller": (
        "workload-high", 150, "ByUser",
        ("User system:kube-controller-manager", f"{_CONTROLLER}endpoint-controller",
         f"{_CONTROLLER}endpointslicemirroring-controller"),
        ("get create update | core | endpoints | *",),
    ),
    "workload-leader-election": ("leader-election", 200, "ByUser", (f"{_CONTROLLER}*",), (f"{_LEASES} | *",)),
    "system-node-high": (
        "node-high", 400, "ByUser", ("Group system:nodes",),
        ("* | core | nodes nodes/status", "* | coordination.k8s.io | leases"),
    ),
    "system-nodes": ("system", 500, "ByUser", ("Group system:nodes",), (_EVERYTHING, "* | *")),
    "kube-controller-manager": (
        "workload-high", 800, "ByNamespace", ("User system:kube-controller-manager",), (_EVERYTHING, "* | *"),
    ),
    "kube-scheduler": ("workload-high", 800, "ByNamespace", ("User system:kube-scheduler",), (_EVERYTHING, "* | *")),
    "kube-system-service-accounts": ("workload-high", 900, "ByNamespace", (f"{_CONTROLLER}*",), (_EVERYTHING, "* | *")),
    "service-accounts": ("workload-low", 9000, "ByUser", ("Group system:serviceaccounts",), (_EVERYTHING, "* | *")),
    "global-default": ("global-default", 9900, "ByUser", _EVERYBODY, (_EVERYTHING, "* | *")),
    "catch-all": ("catch-all", 10000, "ByUser", _EVERYBODY, (_EVERYTHING, "* | *")),
}  # fmt: skip
_MANDATORY = ("exempt", "catch-all")


def objects() -> Iterator[tuple[str, Json]]:
    """(collection path, object); levels before the schemas that name them."""
    yield f"{_API}/prioritylevelconfigurations", {"metadata": _meta("exempt"), "spec": {"type": "Exempt"}}
    limited: Json = {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}
    spec: Json = {"type": "Limited", "limited": limited}
    yield f"{_API}/prioritylevelconfigurations", {"metadata": _meta("catch-all"), "spec": spec}
    for name, (shares, lendable, queues, hand, length) in _LEVELS.items():
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
        response = {"type": "Queue", "queuing": queuing}
        limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
        spec = {"type": "Limited", "limited": limited}
        yield f"{_API}/prioritylevelconfigurations", {"metadata": _meta(name), "spec": spec}
    for name, (level, precedence, flows, subjects, rules) in _SCHEMAS.items():
        spec = {
            "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
            "rules": [{"subjects": [_subject(*each.split(" ", 1)) for each in subjects], **_rules(rules)}],
        }  # fmt: skip
        if flows:
            spec["distinguisherMethod"] = {"type": flows}
        yield f"{_API}/flowschemas", {"metadata": _meta(name), "spec": spec}


def _meta(name: str) -> Json:
    return {"name": name, "annotations": {_AUTO_UPDATE: str(name not in _MANDATORY).lower()}}


def _subject(kind: str, name: str) -> Json:
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "serviceAccount": {"namespace": namespace, "name": account}}
    return {"kind": kind, kind.lower(): {"name": name}}


def _rules(texts: tuple[str, ...]) -> Json:
    found: Json = {}
    for text in texts:
        verbs, *rest = (part.split() for part in text.split("|"))
        if len(rest) == 1:
            found.setdefault("nonResourceRules", []).append({"verbs": verbs, "nonResourceURLs": rest[0]})
            continue
        groups, resources, *namespaces = rest
        rule: Json = {
            "verbs": verbs, "apiGroups": ["" if group == "core" else group for group in groups],
            "resources": resources, "namespaces": namespaces[0] if namespaces else ["*"],
        }  # fmt: skip
        if not namespaces:
            rule["clusterScope"] = True
        found.setdefault("resourceRules", []).append(rule)
    return found
