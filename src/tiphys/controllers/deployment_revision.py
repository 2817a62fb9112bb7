"""Revisions of a Deployment: the hash of a template, and the annotations that `kubectl rollout history` reads.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from tiphys.api.resource import Json
from tiphys.kinds.apps.deployment import Deployment
from tiphys.kinds.apps.replicaset import ReplicaSet

HASH_LABEL = "pod-template-hash"
_PREFIX = "deployment.kubernetes.io/"
REVISION, HISTORY = f"{_PREFIX}revision", f"{_PREFIX}revision-history"
DESIRED, MAX = f"{_PREFIX}desired-replicas", f"{_PREFIX}max-replicas"
# What stands on a Deployment but says nothing about its ReplicaSets.
_NOT_COPIED = frozenset((
    "kubectl.kubernetes.io/last-applied-configuration", "deprecated.deployment.rollback.to",
    REVISION, HISTORY, DESIRED, MAX,
))  # fmt: skip
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LENGTH = 10
_MAX_HISTORY = 2000


def template_hash(template: Json, collisions: int) -> str:
    """The same for equal templates, whatever the order of their fields; `collisions` gives another for the same."""
    data = orjson.dumps(_without_nulls(template), option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(data + b"%d" % collisions).digest()[:8], "big")
    letters = []
    for _ in range(_LENGTH):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def same_template(one: Json, other: Json) -> bool:
    """Whether two templates make the same pods, but for the label that holds the hash."""
    return bool(_bare(one) == _bare(other))


def _bare(template: Json) -> Any:
    found = _without_nulls(template)
    meta = dict(found.get("metadata") or {})
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return {**found, "metadata": {**meta, "labels": labels}}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def revision_of(replica_set: ReplicaSet) -> int:
    text = replica_set.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_revision(old: Iterable[ReplicaSet]) -> int:
    return max(map(revision_of, old), default=0) + 1


def size_annotations(replicas: int, surge: int) -> dict[str, str]:
    return {DESIRED: str(replicas), MAX: str(replicas + surge)}


def new_annotations(deployment: Deployment, held: dict[str, str], revision: int) -> dict[str, str]:
    """What the newest ReplicaSet's annotations lack, given those it holds."""
    wanted = {k: v for k, v in deployment.metadata.annotations.items() if k not in _NOT_COPIED}
    before = held.get(REVISION, "")
    if not before.isdecimal() or int(before) < revision:
        wanted[REVISION] = str(revision)
        if before:
            wanted[HISTORY] = _longer_history(held.get(HISTORY, ""), before)
    return {key: value for key, value in wanted.items() if held.get(key) != value}


def _longer_history(history: str, revision: str) -> str:
    revisions = [*filter(None, history.split(",")), revision]
    while len(",".join(revisions)) > _MAX_HISTORY:
        revisions.pop(0)
    return ",".join(revisions)


def new_replica_set(deployment: Json, name_hash: str, replicas: int, annotations: dict[str, str]) -> Json:
    """The ReplicaSet of the Deployment's (whole, as JSON) present template."""
    spec, meta = deployment["spec"], deployment["metadata"]
    template = spec.get("template") or {}
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: name_hash}
    selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: name_hash}
    made: Json = {
        "metadata": {
            "name": f"{meta['name']}-{name_hash}", "namespace": meta["namespace"], "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "replicas": replicas, "selector": selector,
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }  # fmt: skip
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made
