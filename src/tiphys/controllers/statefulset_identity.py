"""What makes the pods of a StatefulSet: their names and labels, and the claims that stay theirs.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-identity
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.meta import ObjectMeta, OwnerReference
from tiphys.api.resource import Json
from tiphys.controllers.controller_revisions import HASH
from tiphys.controllers.pods import pod_from
from tiphys.kinds.apps.statefulset import STATEFUL_SETS, StatefulSet
from tiphys.kinds.core.pod import Pod

NAME_LABEL, INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


def identity(owner: str, ordinal: int) -> dict[str, str]:
    """The labels that say which pod it is."""
    return {NAME_LABEL: f"{owner}-{ordinal}", INDEX_LABEL: str(ordinal)}


def claim_name(template: str, owner: str, ordinal: int) -> str:
    return f"{template}-{owner}-{ordinal}"


def pod_of(owner: StatefulSet, template: Json, ordinal: int, revision: str) -> Json:
    """The pod (as JSON, without its owner) that the `template` of a revision makes of an ordinal."""
    meta = owner.metadata
    name = f"{meta.name}-{ordinal}"
    pod = pod_from(template, meta, {})
    del pod["metadata"]["generateName"]
    pod["metadata"]["name"] = name
    labels = pod["metadata"].get("labels") or {}
    pod["metadata"]["labels"] = {**labels, **identity(meta.name, ordinal), HASH: revision}
    spec = pod["spec"] = {**pod["spec"], "hostname": name, "subdomain": owner.spec.service_name}
    claims = [claim.metadata.name for claim in owner.spec.volume_claim_templates]
    if claims:
        own = [{"name": c, "persistentVolumeClaim": {"claimName": claim_name(c, meta.name, ordinal)}} for c in claims]
        spec["volumes"] = own + [v for v in spec.get("volumes") or () if v["name"] not in claims]
    return pod


def claims_of(owner: Json, ordinal: int) -> Iterator[Json]:
    """The claims of an ordinal; `owner` is the whole StatefulSet as JSON."""
    spec, meta = owner["spec"], owner["metadata"]
    selected = (spec.get("selector") or {}).get("matchLabels") or {}
    for template in spec.get("volumeClaimTemplates") or ():
        given = template.get("metadata") or {}
        made: Json = {
            "name": claim_name(given["name"], meta["name"], ordinal), "namespace": meta["namespace"],
            "labels": {**(given.get("labels") or {}), **selected},
        }  # fmt: skip
        if given.get("annotations"):
            made["annotations"] = given["annotations"]
        yield {"metadata": made, "spec": template.get("spec") or {}}


def references(owner: StatefulSet, pod: Pod | None, held: list[OwnerReference]) -> list[Json]:
    """What of a claim's owners changes, as a strategic patch: who takes it along when it goes.

    `pod` is the claim's pod if that is to go for good.
    """
    policy = owner.spec.persistent_volume_claim_retention_policy
    with_pod = pod is not None and policy.when_scaled == "Delete"
    wanted: dict[str, Json] = {}
    if policy.when_deleted == "Delete" and not with_pod:
        wanted[owner.metadata.uid] = _reference(STATEFUL_SETS.api_version, "StatefulSet", owner.metadata)
    if with_pod and pod is not None:
        wanted[pod.metadata.uid] = _reference("v1", "Pod", pod.metadata)
    ours = {reference.uid for reference in held if _is_ours(owner.metadata, reference)}
    changes = [reference for uid, reference in wanted.items() if uid not in ours]
    return changes + [{"$patch": "delete", "uid": uid} for uid in ours if uid not in wanted]


def _reference(api_version: str, kind: str, owner: ObjectMeta) -> Json:
    return {"apiVersion": api_version, "kind": kind, "name": owner.name, "uid": owner.uid}


def _is_ours(owner: ObjectMeta, reference: OwnerReference) -> bool:
    if reference.kind == "StatefulSet":
        return reference.uid == owner.uid
    return reference.kind == "Pod" and reference.name.startswith(f"{owner.name}-")
