"""Workloads that are wrong, and what upstream says of each."""

import copy
from typing import Any

import pytest

from tiphys.kinds.apps.controllerrevision import CONTROLLER_REVISIONS
from tiphys.kinds.apps.daemonset import DAEMON_SETS
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.indexes import count_indexes, overlap
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS

Json = dict[str, Any]
TEMPLATE: Json = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}


def workload(**spec: Any) -> Json:
    return {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": copy.deepcopy(TEMPLATE), **spec}}


def rolling(field: str, **amounts: Any) -> Json:
    return {field: {"type": "RollingUpdate", "rollingUpdate": amounts}}


WRONG: list[tuple[Any, Json, list[str]]] = [
    (DEPLOYMENTS, {"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    (DEPLOYMENTS, {"selector": None}, [
        "spec.selector: Required value",
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    (DEPLOYMENTS, {"selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    (DEPLOYMENTS, {"selector": {"matchLabels": {"a": "c"}}}, [
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    (DEPLOYMENTS, {"strategy": {"type": "Slow"}}, [
        'spec.strategy: Unsupported value: {"type":"Slow"}: supported values: "Recreate", "RollingUpdate"']),
    (DEPLOYMENTS, {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, [
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
    (DEPLOYMENTS, rolling("strategy", maxSurge=0, maxUnavailable="0%"), [
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0']),
    (DEPLOYMENTS, rolling("strategy", maxUnavailable="101%"), [
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%']),
    (DEPLOYMENTS, {"progressDeadlineSeconds": 5, "minReadySeconds": 5}, [
        "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"]),
    (DEPLOYMENTS, {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}, [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    (DEPLOYMENTS, {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "activeDeadlineSeconds": 1}}}, [
        "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"]),
    (REPLICA_SETS, {"selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    (DAEMON_SETS, rolling("updateStrategy", maxSurge=1, maxUnavailable=1), [
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: "
        "may not be set when maxUnavailable is non-zero"]),
    (DAEMON_SETS, rolling("updateStrategy", maxSurge=0, maxUnavailable=0), [
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
    (STATEFUL_SETS, {"podManagementPolicy": "x"}, [
        "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"]),
    (STATEFUL_SETS, {"ordinals": {"start": -1}}, [
        "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"]),
    (STATEFUL_SETS, rolling("updateStrategy", maxUnavailable=0), [
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"]),
    (STATEFUL_SETS, {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}, [
        'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: '
        '"Retain", "Delete"']),
    (REPLICATION_CONTROLLERS, {"selector": {"a": "c"}}, [
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "expected"), WRONG)
def test_workloads(problems: Any, kind: Any, spec: Json, expected: list[str]) -> None:
    assert problems(kind, workload(**spec)) == expected


def test_a_stateful_sets_claims_are_mounted_like_volumes(problems: Any) -> None:
    good = workload(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}])
    good["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    assert problems(STATEFUL_SETS, good) == []


def test_what_of_a_stateful_set_may_change(update_problems: Any) -> None:
    def change(new: Json) -> None:
        new["spec"]["serviceName"] = "other"

    assert update_problems(STATEFUL_SETS, workload(), change) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
        "forbidden"
    ]


def test_selectors_stay(update_problems: Any) -> None:
    def change(new: Json) -> None:
        new["spec"]["selector"] = {"matchLabels": {"x": "y"}}
        new["spec"]["template"]["metadata"]["labels"] = {"x": "y"}

    for kind in (DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS):
        assert update_problems(kind, workload(), change) == [
            'spec.selector: Invalid value: {"matchLabels":{"x":"y"}}: field is immutable'
        ]


def reported(kind: Any, status: Json, before: Json | None = None, **spec: Any) -> list[str]:
    """What is said of a status that comes after `before`."""
    old = {"metadata": {"name": "a"}, **workload(**spec), "status": before or {}}
    return [str(error) for error in kind.strategy.validate({**old, "status": status}, old)]


def test_counts_of_statuses_fit_together() -> None:
    assert reported(DEPLOYMENTS, {"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}) == []
    assert reported(DEPLOYMENTS, {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
    ]
    assert reported(REPLICA_SETS, {"observedGeneration": -1}) == [
        "status.observedGeneration: Invalid value: -1: must be greater than or equal to 0"
    ]
    assert reported(DAEMON_SETS, {"collisionCount": 1}, {"collisionCount": 2}) == [
        "status.collisionCount: Invalid value: 1: cannot be decremented"
    ]


def test_revisions_do_not_change(problems: Any, update_problems: Any) -> None:
    assert problems(CONTROLLER_REVISIONS, {"revision": -1}) == [
        "data: Required value: data is mandatory",
        "revision: Invalid value: -1: must be greater than or equal to 0",
    ]


def job(**spec: Any) -> Json:
    template = {"spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"}}
    return {"metadata": {"name": "j", "uid": "u"}, "spec": {"template": template, **spec}}


INDEXED: Json = {"completionMode": "Indexed", "completions": 3}


def failing(*rules: Json) -> Json:
    return {"podFailurePolicy": {"rules": list(rules)}}


def codes(**fields: Any) -> Json:
    return failing({"action": "FailJob", "onExitCodes": fields})


R = "spec.podFailurePolicy.rules[0]"
S = "spec.successPolicy.rules[0]"
JOB_CASES: list[tuple[Json, list[str]]] = [
    ({"parallelism": -1}, ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
    ({"completionMode": "x"}, [
        'spec.completionMode: Unsupported value: "x": supported values: "NonIndexed", "Indexed"']),
    ({"completionMode": "Indexed", "parallelism": 1}, [
        "spec.completions: Required value: when completion mode is Indexed"]),
    ({"backoffLimitPerIndex": 1}, ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]),
    ({**INDEXED, "maxFailedIndexes": 4, "backoffLimitPerIndex": 1}, [
        "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions"]),
    ({**INDEXED, "maxFailedIndexes": 1}, [
        "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"]),
    ({"managedBy": "me"}, [
        'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")']),
    ({"successPolicy": {"rules": []}}, [
        'spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode']),
    ({**INDEXED, "successPolicy": {"rules": [{}]}}, [
        f"{S}: Required value: at least one of succeededCount or succeededIndexes must be specified"]),
    ({**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}}, [
        f"{S}.succeededCount: Invalid value: 3: "
        "must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)"]),
    ({**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "5"}]}}, [
        f'{S}.succeededIndexes: Invalid value: "5": error parsing succeededIndexes: too large index: "5"']),
    (failing({"action": "Ignore"}), [
        f"{R}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"]),
    (codes(operator="In", values=[2, 1, 0]), [
        f"{R}.onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
        f"{R}.onExitCodes.values: Invalid value: [2,1,0]: must be ordered"]),
    (codes(operator="In", values=[1, 1], containerName="d"), [
        f'{R}.onExitCodes.containerName: Invalid value: "d": '
        "must be one of the container or initContainer names in the pod template",
        f"{R}.onExitCodes.values[1]: Duplicate value: 1"]),
    ({**failing({"action": "FailIndex", "onPodConditions": [{"type": "X"}]})}, [
        f'{R}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set']),
    ({**codes(operator="NotIn", values=[1]), "podReplacementPolicy": "TerminatingOrFailed"}, [
        'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), JOB_CASES)
def test_jobs(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(JOBS, job(**spec)) == expected


def test_a_jobs_labels_are_the_servers(problems: Any) -> None:
    taken = job()
    taken["spec"]["template"]["metadata"] = {"labels": {"job-name": "other"}}
    found = problems(JOBS, taken)
    assert len(found) == 1
    assert found[0].startswith("spec.template.metadata.labels[job-name]: Invalid value: {")
    assert found[0].endswith("must be 'j'")


def test_a_template_changes_only_while_the_job_is_suspended(update_problems: Any) -> None:
    def steer(new: Json) -> None:
        new["spec"]["template"]["spec"]["nodeSelector"] = {"a": "b"}

    (found,) = update_problems(JOBS, job(), steer)
    assert found.startswith("spec.template: Invalid value: {")
    assert found.endswith(": field is immutable")
    assert update_problems(JOBS, job(suspend=True), steer) == []


def test_a_jobs_status_is_consistent() -> None:
    complete = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
    done = {"conditions": complete, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z"}
    assert reported(JOBS, done) == []
    assert reported(JOBS, {**done, "active": 1}) == [
        "status.active: Invalid value: 1: active>0 is invalid for finished job"
    ]
    assert reported(JOBS, {**done, "conditions": complete[1:]}) == [
        "status.conditions: Invalid value: "
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
    ]
    assert reported(JOBS, {}, done) == [
        "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
        "status.startTime: Required value: startTime cannot be removed for unsuspended job",
        "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
    ]
    assert reported(JOBS, {"failed": 1}, {"failed": 2}) == [
        "status.failed: Invalid value: 1: cannot decrease the failed counter"
    ]


def test_indexes() -> None:
    assert count_indexes("0,2-4", 5) == 4
    assert count_indexes("", 5) == 0
    assert overlap("0-2", "2-3", 5) == 2
    assert overlap("0-1", "2", 5) is None
    for text, why in (
        ("1-2-3", "at most two parts"), ("x", "cannot convert string to integer"), ("5", "too large index"),
        ("2,1", "non-increasing order, previous: 2, current: 1"), ("2-2", "non-increasing order"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            count_indexes(text, 5)


def cron_job(**spec: Any) -> Json:
    return {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}, **spec}}


CRON_CASES: list[tuple[Json, list[str]]] = [
    ({"schedule": "* * *"}, ['spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]']),
    ({"schedule": "a * * * *"}, [
        'spec.schedule: Invalid value: "a * * * *": failed to parse int from a: strconv.Atoi: parsing "a": '
        "invalid syntax"]),
    ({"timeZone": "Local"}, [
        'spec.timeZone: Invalid value: "Local": '
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"]),
    ({"timeZone": "Mars/Base"}, ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base']),
    ({"concurrencyPolicy": "x"}, [
        'spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"']),
    ({"jobTemplate": {"spec": job(manualSelector=True)["spec"]}}, [
        'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), CRON_CASES)
def test_cron_jobs(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(CRON_JOBS, cron_job(**spec)) == expected


def test_a_name_that_no_host_can_bear_is_warned_of(created: Any) -> None:
    for kind, obj in ((DEPLOYMENTS, workload()), (REPLICA_SETS, workload()), (JOBS, job())):
        named = created(kind, {**obj, "metadata": {"name": "a.b"}})
        assert list(kind.strategy.warnings(named, None)) == [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
            "a DNS label is recommended: [must not contain dots]"
        ]


def test_deleting_orphans_where_it_always_has() -> None:
    assert {kind.kind for kind in (JOBS, REPLICATION_CONTROLLERS) if kind.default_propagation == "Orphan"} == {
        "Job",
        "ReplicationController",
    }
    assert not any(kind.default_propagation for kind in (DEPLOYMENTS, STATEFUL_SETS, CRON_JOBS))
