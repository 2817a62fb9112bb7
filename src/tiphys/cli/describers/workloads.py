"""`describe` of deployments, replica sets, daemon sets, stateful sets, jobs and cron jobs."""

from __future__ import annotations

from typing import Any

from tiphys.api.time import age
from tiphys.cli.builder import Info
from tiphys.cli.command import Call
from tiphys.cli.describers.pod import template
from tiphys.cli.describers.text import Text, date, events_of, listed, map_text, selector_text
from tiphys.cli.times import seconds

Json = dict[str, Any]


def _query(selector: Json) -> str:
    """A LabelSelector as a query."""
    return selector_text(selector) if selector else ""


def pods_status(call: Call, info: Info) -> str:
    """How many of the pods that an object controls are in which phase."""
    found = listed(call, "pods", info.namespace, labelSelector=_query(info.obj["spec"].get("selector") or {}))
    counts = dict.fromkeys(("Running", "Pending", "Succeeded", "Failed"), 0)
    for pod in found:
        owners = pod["metadata"].get("ownerReferences") or ()
        if any(owner.get("uid") == info.obj["metadata"]["uid"] for owner in owners):
            phase = (pod.get("status") or {}).get("phase", "Pending")
            counts[phase] = counts.get(phase, 0) + 1
    return (f"{counts['Running']} Running / {counts['Pending']} Waiting / {counts['Succeeded']} Succeeded / "
            f"{counts['Failed']} Failed")  # fmt: skip


def deployment(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec, status = obj["spec"], obj.get("status") or {}
    text.head(obj)
    text.field("CreationTimestamp", date(obj["metadata"].get("creationTimestamp")))
    text.marks(obj)
    text.field("Selector", selector_text(spec.get("selector")))
    text.field("Replicas", f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
               f"{status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available | "
               f"{status.get('unavailableReplicas', 0)} unavailable")  # fmt: skip
    strategy = spec.get("strategy") or {}
    text.field("StrategyType", strategy.get("type", ""))
    text.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = strategy.get("rollingUpdate")
    if rolling:
        text.field("RollingUpdateStrategy",
                   f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge")  # fmt: skip
    template(text, spec["template"])
    text.conditions(status.get("conditions") or [])
    old, new = _replica_sets(call, info)
    if old or new:
        text.field("OldReplicaSets", old or "<none>")
        text.field("NewReplicaSet", new or "<none>")
    text.events(events_of(call, info))
    return text.render()


def _replica_sets(call: Call, info: Info) -> tuple[str, str]:
    """What the old replica sets that have pods, and the new one, show."""
    found = listed(call, "replicasets.apps", info.namespace, labelSelector=_query(info.obj["spec"]["selector"]))
    uid = info.obj["metadata"]["uid"]
    owned = [
        item for item in found
        if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences") or ())
    ]  # fmt: skip
    wanted = info.obj["spec"]["template"]
    new = [item for item in owned if _same_template(item["spec"]["template"], wanted)][:1]
    old = [item for item in owned if item not in new]
    return _replica_text(old), _replica_text(new)


def _same_template(one: Json, other: Json) -> bool:
    return _without_hash(one) == _without_hash(other)


def _without_hash(found: Json) -> Json:
    metadata = found.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != "pod-template-hash"}
    cleaned = {key: value for key, value in metadata.items() if key != "creationTimestamp" and value}
    return {**found, "metadata": {**cleaned, "labels": labels}}


def _replica_text(found: list[Json]) -> str:
    return ", ".join(
        f"{item['metadata']['name']} ({(item.get('status') or {}).get('replicas', 0)}/{item['spec'].get('replicas', 1)}"
        " replicas created)" for item in found
    )  # fmt: skip


def replica_set(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    status = obj.get("status") or {}
    text.head(obj)
    selector = obj["spec"].get("selector")
    text.field("Selector", map_text(selector) if obj["kind"] == "ReplicationController" else selector_text(selector))
    text.marks(obj)
    text.controller(obj)
    text.field("Replicas", f"{status.get('replicas', 0)} current / {obj['spec'].get('replicas', 1)} desired")
    text.field("Pods Status", pods_status(call, info))
    template(text, obj["spec"]["template"])
    text.conditions(status.get("conditions") or [])
    text.events(events_of(call, info))
    return text.render()


def daemon_set(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    status = obj.get("status") or {}
    text.head(obj)
    text.field("Selector", selector_text(obj["spec"].get("selector")))
    text.field("Node-Selector", map_text((obj["spec"]["template"].get("spec") or {}).get("nodeSelector")))
    text.marks(obj)
    for title, key in (
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ):
        text.line(f"{title}: {status.get(key, 0)}")
    text.field("Pods Status", pods_status(call, info))
    template(text, obj["spec"]["template"])
    text.events(events_of(call, info))
    return text.render()


def stateful_set(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec, status = obj["spec"], obj.get("status") or {}
    text.head(obj)
    text.field("CreationTimestamp", date(obj["metadata"].get("creationTimestamp")))
    text.field("Selector", selector_text(spec.get("selector")))
    text.marks(obj)
    for title, key in (("Service Name", "serviceName"), ("Pod Management Policy", "podManagementPolicy")):
        if spec.get(key):
            text.field(title, spec[key])
    text.field("Replicas", f"{spec.get('replicas', 1)} desired | {status.get('replicas', 0)} total")
    strategy = spec.get("updateStrategy") or {}
    text.field("Update Strategy", strategy.get("type", ""))
    if (strategy.get("rollingUpdate") or {}).get("partition") is not None:
        text.field("Partition", strategy["rollingUpdate"]["partition"], 1)
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    if retention:
        text.line("Persistent Volume Claim Retention Policy:")
        text.field("WhenDeleted", retention.get("whenDeleted"), 1)
        text.field("WhenScaled", retention.get("whenScaled"), 1)
    text.field("Pods Status", pods_status(call, info))
    template(text, spec["template"])
    _claim_templates(text, spec.get("volumeClaimTemplates") or [])
    text.events(events_of(call, info))
    return text.render()


def _claim_templates(text: Text, found: list[Json]) -> None:
    if not found:
        text.line("Volume Claims:\t<none>")
        return
    text.line("Volume Claims:")
    for claim in found:
        text.field("Name", claim["metadata"]["name"], 1)
        text.field("StorageClass", claim["spec"].get("storageClassName", ""), 1)
        text.labels("  Labels", claim["metadata"].get("labels"))
        text.annotations("  Annotations", claim["metadata"].get("annotations"))
        requests = (claim["spec"].get("resources") or {}).get("requests") or {}
        text.field("Capacity", requests.get("storage", "<default>"), 1)
        text.field("Access Modes", f"[{' '.join(claim['spec'].get('accessModes') or ())}]", 1)


def job(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec, status = obj["spec"], obj.get("status") or {}
    text.head(obj)
    text.field("Selector", selector_text(spec.get("selector")).replace("<none>", ""))
    text.marks(obj)
    text.controller(obj)
    if spec.get("parallelism") is not None:
        text.field("Parallelism", spec["parallelism"])
    text.field("Completions", spec.get("completions", "<unset>"))
    for title, key in (("Completion Mode", "completionMode"), ("Suspend", "suspend"), ("Backoff Limit", "backoffLimit"),
                       ("TTL Seconds After Finished", "ttlSecondsAfterFinished")):  # fmt: skip
        if spec.get(key) is not None:
            text.field(title, str(spec[key]).lower() if isinstance(spec[key], bool) else spec[key])
    start, end = status.get("startTime"), status.get("completionTime")
    if start:
        text.field("Start Time", date(start))
    if end:
        text.field("Completed At", date(end))
    if start and end:
        text.field("Duration", age(seconds(end) - seconds(start)))
    if spec.get("activeDeadlineSeconds") is not None:
        text.field("Active Deadline Seconds", f"{spec['activeDeadlineSeconds']}s")
    ready = f" ({status['ready']} Ready)" if status.get("ready") is not None else ""
    text.field("Pods Statuses", f"{status.get('active', 0)} Active{ready} / {status.get('succeeded', 0)} Succeeded / "
               f"{status.get('failed', 0)} Failed")  # fmt: skip
    if spec.get("completionMode") == "Indexed":
        text.field("Completed Indexes", status.get("completedIndexes") or "<none>")
    template(text, spec["template"])
    text.events(events_of(call, info))
    return text.render()


def cron_job(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    spec, status = obj["spec"], obj.get("status") or {}
    text.head(obj)
    text.marks(obj)
    text.field("Schedule", spec.get("schedule", ""))
    text.field("Concurrency Policy", spec.get("concurrencyPolicy", ""))
    text.field("Suspend", {None: "<unset>", True: "True", False: "False"}[spec.get("suspend")])
    text.field("Time Zone", spec.get("timeZone", "<unset>"))
    text.field("Successful Job History Limit", spec.get("successfulJobsHistoryLimit", "<unset>"))
    text.field("Failed Job History Limit", spec.get("failedJobsHistoryLimit", "<unset>"))
    deadline = spec.get("startingDeadlineSeconds")
    text.field("Starting Deadline Seconds", "<unset>" if deadline is None else f"{deadline}s")
    inner = (spec.get("jobTemplate") or {}).get("spec") or {}
    metadata = (spec.get("jobTemplate") or {}).get("metadata") or {}
    if metadata.get("labels"):
        text.labels("Labels", metadata["labels"])
    if metadata.get("annotations"):
        text.annotations("Annotations", metadata["annotations"])
    if inner.get("selector"):
        text.field("Selector", selector_text(inner["selector"]))
    else:
        text.field("Selector", "<unset>")
    text.field("Parallelism", inner.get("parallelism", "<unset>"))
    text.field("Completions", inner.get("completions", "<unset>"))
    if inner.get("activeDeadlineSeconds") is not None:
        text.field("Active Deadline Seconds", f"{inner['activeDeadlineSeconds']}s")
    template(text, inner.get("template") or {})
    text.field("Last Schedule Time", date(status["lastScheduleTime"]) if status.get("lastScheduleTime") else "<unset>")
    text.field("Active Jobs", ", ".join(item["name"] for item in status.get("active") or ()) or "<none>")
    text.events(events_of(call, info))
    return text.render()
