"""Deployments, replica sets, stateful sets, daemon sets, jobs and cron jobs."""

from typing import Any

import pytest

from tiphys.api.resource import ResourceType
from tiphys.kinds.apps.daemonset import DAEMON_SETS
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.batch import cron
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS

WORKLOADS = [DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS]


def template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}], **spec}}


def workload(**spec: Any) -> dict[str, Any]:
    return {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec}}


def job(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "j", "uid": "u-1"}, "spec": {"template": template(restartPolicy="Never"), **spec}}


def test_deployment_defaults(created: Any) -> None:
    spec = created(DEPLOYMENTS, workload())["spec"]
    assert {name: spec[name] for name in ("replicas", "revisionHistoryLimit", "progressDeadlineSeconds")} == {
        "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
    }  # fmt: skip
    rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    recreate = created(DEPLOYMENTS, workload(strategy={"type": "Recreate"}))["spec"]
    assert recreate["strategy"] == {"type": "Recreate"}


def test_stateful_set_and_daemon_set_defaults(created: Any) -> None:
    spec = created(STATEFUL_SETS, workload(volumeClaimTemplates=[{"metadata": {"name": "d"}}]))["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    claim = spec["volumeClaimTemplates"][0]
    assert (claim["kind"], claim["spec"]["volumeMode"], claim["status"]) == (
        "PersistentVolumeClaim", "Filesystem", {"phase": "Pending"},
    )  # fmt: skip
    update = created(DAEMON_SETS, workload())["spec"]["updateStrategy"]
    assert update == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}


@pytest.mark.parametrize("kind", WORKLOADS, ids=lambda kind: kind.kind)
def test_a_good_workload_has_nothing_wrong(problems: Any, kind: ResourceType[Any]) -> None:
    assert problems(kind, workload()) == []


@pytest.mark.parametrize("kind", WORKLOADS, ids=lambda kind: kind.kind)
def test_the_selector_must_match_the_template(problems: Any, kind: ResourceType[Any]) -> None:
    assert problems(kind, workload(selector={"matchLabels": {"app": "other"}})) == [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    ]
    assert "spec.selector: Required value" in problems(kind, {"spec": {"template": template()}})


@pytest.mark.parametrize("kind", [DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS], ids=lambda kind: kind.kind)
def test_the_selector_is_immutable(update_problems: Any, kind: ResourceType[Any]) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}

    (found,) = update_problems(kind, workload(), change)
    assert found.startswith("spec.selector: Invalid value: ")
    assert found.endswith(": field is immutable")


def test_a_template_restarts_always(problems: Any) -> None:
    assert problems(DEPLOYMENTS, workload(template=template(restartPolicy="Never"))) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


def test_rolling_updates_must_be_able_to_move(problems: Any) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}
    assert problems(DEPLOYMENTS, workload(strategy=strategy)) == [
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
    ]
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}
    assert problems(DAEMON_SETS, workload(updateStrategy=update)) == [
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    ]


def test_counts_are_not_negative(problems: Any) -> None:
    assert problems(DEPLOYMENTS, workload(replicas=-1)) == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]


def test_a_stateful_set_keeps_its_service(update_problems: Any) -> None:
    def scale(new: dict[str, Any]) -> None:
        new["spec"]["replicas"] = 5

    def rename(new: dict[str, Any]) -> None:
        new["spec"]["serviceName"] = "other"

    assert update_problems(STATEFUL_SETS, workload(), scale) == []
    (found,) = update_problems(STATEFUL_SETS, workload(), rename)
    assert found.startswith("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")


def test_a_replication_controller_selects_its_template(created: Any) -> None:
    new = created(REPLICATION_CONTROLLERS, {"spec": {"template": template()}})
    assert (new["spec"]["selector"], new["metadata"]["labels"]) == ({"app": "web"}, {"app": "web"})


def test_job_defaults_and_generated_selector(created: Any, problems: Any) -> None:
    spec = created(JOBS, job())["spec"]
    expected = {
        "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
    }  # fmt: skip
    assert {name: spec[name] for name in expected} == expected
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert spec["template"]["metadata"]["labels"] == {
        "app": "web", "batch.kubernetes.io/job-name": "j", "job-name": "j",
        "batch.kubernetes.io/controller-uid": "u-1", "controller-uid": "u-1",
    }  # fmt: skip
    assert "completions" not in created(JOBS, job(parallelism=3))["spec"]
    assert problems(JOBS, job()) == []


def test_a_job_does_not_restart_always(problems: Any) -> None:
    assert problems(JOBS, job(template=template())) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


def test_a_jobs_template_is_immutable(update_problems: Any) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "y:1"

    def scale(new: dict[str, Any]) -> None:
        new["spec"]["parallelism"] = 4

    (found,) = update_problems(JOBS, job(), change)
    assert found.startswith("spec.template: Invalid value: ")
    assert update_problems(JOBS, job(), scale) == []


def cron_job(**spec: Any) -> dict[str, Any]:
    return {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job()["spec"]}, **spec}}


def test_cron_jobs(created: Any, problems: Any) -> None:
    spec = created(CRON_JOBS, cron_job())["spec"]
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Allow", False)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert problems(CRON_JOBS, cron_job(timeZone="Europe/Athens")) == []
    assert problems(CRON_JOBS, cron_job(schedule="61 * * * *")) == [
        'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'
    ]
    assert problems(CRON_JOBS, cron_job(timeZone="Nowhere/City")) == [
        'spec.timeZone: Invalid value: "Nowhere/City": unknown time zone Nowhere/City'
    ]


def test_schedules() -> None:
    schedule = cron.parse("0,30 9-17/4 * jan mon-fri")
    assert schedule.minutes == {0, 30}
    assert schedule.hours == {9, 13, 17}
    assert (schedule.months, schedule.weekdays) == ({1}, {1, 2, 3, 4, 5})
    assert (schedule.any_day, schedule.any_weekday) == (True, False)
    assert cron.parse("@daily") == cron.parse("0 0 * * *")
    assert cron.parse("@every 1h30m").every == 5400


@pytest.mark.parametrize("text", ["", "* * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *", "@sometimes", "@every x"])
def test_broken_schedules(text: str) -> None:
    assert len(cron.problems(text)) == 1
