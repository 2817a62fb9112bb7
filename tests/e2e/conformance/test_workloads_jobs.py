from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, conditions, template, unique

pytestmark = pytest.mark.root

INDEX = "batch.kubernetes.io/job-completion-index"
# What the pod of an odd index does differently from that of an even one.
ODD = 'case "$JOB_COMPLETION_INDEX" in *[13579]) exit 1;; esac; exit 0'


@pytest.fixture
def jobs(rest, namespace) -> Kind:
    return Kind(rest, "batch/v1", "jobs", namespace)


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


def spec(script: str, restart: str = "Never", pod: dict | None = None, **more) -> dict:
    return {"template": template(script=script, restartPolicy=restart, **(pod or {})), "backoffLimit": 6, **more}


def indexed(script: str, completions: int, **more) -> dict:
    return spec(script, completions=completions, parallelism=completions, completionMode="Indexed", **more)


@upstream(
    "[sig-apps] Job should run a job to completion when tasks sometimes fail and are locally restarted [Conformance]"
)
def test_tasks_that_fail_once_are_restarted_where_they_are(jobs):
    once = "test -f /data/foo && exit 0; touch /data/foo; exit 1"
    pod = {"volumes": [{"name": "data", "emptyDir": {}}]}
    pod["container"] = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    jobs.create("j", spec(once, "OnFailure", pod, completions=2, parallelism=2))
    jobs.condition("j", "Complete", 60)
    jobs.until("j", succeeded=2, failed=0, active=0)


@upstream(
    "[sig-apps] Job should create pods for an Indexed job with completion indexes and specified hostname [Conformance]"
)
def test_every_index_is_told_which_it_is(jobs, pods, cluster, namespace):
    jobs.create("j", indexed('echo "$JOB_COMPLETION_INDEX $(hostname)"', 2))
    jobs.condition("j", "Complete")
    assert jobs.until("j", succeeded=2)["status"]["completedIndexes"] == "0,1"
    found = sorted(pods.list(), key=lambda pod: pod["metadata"]["annotations"][INDEX])
    assert [pod["metadata"]["annotations"][INDEX] for pod in found] == ["0", "1"]
    assert [pod["spec"]["hostname"] for pod in found] == ["j-0", "j-1"]
    said = [cluster.kubectl("-n", namespace, "logs", pod["metadata"]["name"]) for pod in found]
    assert said == ["0 j-0\n", "1 j-1\n"]


@upstream("[sig-apps] Job should delete a job [Conformance]")
def test_a_deleted_job_takes_its_pods_along(rest, jobs, pods):
    jobs.create("j", spec("sleep 1000", completions=2, parallelism=2))
    jobs.until("j", active=2, ready=2)
    jobs.delete("j", "Foreground")
    jobs.gone("j")
    rest.until(pods.path, lambda answer: not answer.body["items"])


@upstream("[sig-apps] Job should apply changes to a job status [Conformance]")
def test_the_status_is_patched_replaced_and_read(rest, jobs):
    jobs.create("j", spec("sleep 1000"))
    jobs.until("j", active=1)
    path = f"{jobs.path}/j/status"
    start = rest.ok("GET", path)["status"]["startTime"]
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {}}
    assert rest.merge(path, patch)["metadata"]["annotations"]["patchedstatus"] == "true"
    while True:
        read = rest.ok("GET", path)
        made = {"type": "CustomType", "status": "True", "lastTransitionTime": start}
        read["status"]["conditions"] = [*conditions(read), made]
        answer = rest("PUT", path, read)
        if answer.code != 409:
            break
    assert answer.code == 200
    assert "CustomType" in [held["type"] for held in conditions(rest.ok("GET", path))]
    # What others say there stays when the controller speaks.
    jobs.merge("j", {"spec": {"suspend": True}})
    jobs.condition("j", "Suspended")
    assert "CustomType" in [held["type"] for held in conditions(jobs.get("j"))]


@upstream("[sig-apps] Job should manage the lifecycle of a job [Conformance]")
def test_the_life_of_a_suspended_job(rest, jobs, pods):
    name, label = unique("j"), unique("label")
    jobs.create(name, spec("sleep 1000", suspend=True, parallelism=2, completions=2), labels={"job": label})
    jobs.condition(name, "Suspended")
    assert pods.list() == []
    patched = jobs.strategic(name, {"metadata": {"labels": {label: "patched"}}})
    assert patched["metadata"]["labels"][label] == "patched"
    while True:
        read = jobs.get(name)
        read["spec"]["suspend"] = False
        read["metadata"].setdefault("annotations", {})["updated"] = "true"
        answer = rest("PUT", f"{jobs.path}/{name}", read)
        if answer.code != 409:
            break
    assert answer.body["metadata"]["annotations"]["updated"] == "true"
    jobs.until(name, active=2, ready=2)
    everywhere = rest.ok("GET", "/apis/batch/v1/jobs", labelSelector=f"{label}=patched")["items"]
    assert [job["metadata"]["name"] for job in everywhere] == [name]
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    rest.ok("DELETE", jobs.path, body, labelSelector=f"{label}=patched")
    jobs.gone(name)
    rest.until(pods.path, lambda answer: not answer.body["items"])


@upstream("[sig-apps] Job should execute all indexes despite some failing when using backoffLimitPerIndex [Conformance]")
def test_indexes_that_fail_do_not_hold_up_the_others(jobs):
    jobs.create("j", indexed(ODD, 4, backoffLimitPerIndex=1))
    assert jobs.condition("j", "Failed", 60)["reason"] == "FailedIndexes"
    status = jobs.until("j", succeeded=2, failed=4, active=0)["status"]
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1,3")


@upstream("[sig-apps] Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy [Conformance]")
def test_an_exit_code_fails_an_index_at_once(jobs):
    script = 'test "$JOB_COMPLETION_INDEX" = 0 && exit 42; exit 0'
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]
    jobs.create("j", indexed(script, 2, backoffLimitPerIndex=1, podFailurePolicy={"rules": rules}))
    assert jobs.condition("j", "Failed")["reason"] == "FailedIndexes"
    status = jobs.until("j", succeeded=1, failed=1, active=0)["status"]
    assert (status["completedIndexes"], status["failedIndexes"]) == ("1", "0")


@upstream("[sig-apps] Job should allow to use the pod failure policy on exit code to fail the job early [Conformance]")
def test_an_exit_code_fails_the_job_at_once(jobs):
    script = 'test "$JOB_COMPLETION_INDEX" = 0 && exit 42; sleep 1000'
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    jobs.create("j", indexed(script, 2, podFailurePolicy={"rules": rules}))
    assert jobs.condition("j", "Failed")["reason"] == "PodFailurePolicy"
    assert jobs.until("j", active=0, ready=0, terminating=0)["status"]["failed"] >= 1


@upstream(
    "[sig-apps] Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition [Conformance]"
)
def test_evictions_can_be_ignored(rest, jobs, pods, cluster, namespace, tmp_path):
    script = "test -f /data/$JOB_COMPLETION_INDEX && exit 0; touch /data/$JOB_COMPLETION_INDEX; sleep 1000 & wait"
    pod = {"volumes": [{"name": "data", "hostPath": {"path": str(tmp_path), "type": "Directory"}}]}
    pod["container"] = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    policy = {"backoffLimit": 0, "podFailurePolicy": {"rules": [*rules, _FAIL]}}
    jobs.create("j", indexed(script, 2, pod=pod, **policy))
    jobs.until("j", active=2, ready=2)
    rest.until(pods.path, lambda _: sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"])
    for found in pods.list():
        name = found["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        rest.ok("POST", f"{pods.path}/{name}/eviction", body)
    jobs.condition("j", "Complete", 60)
    jobs.until("j", succeeded=2, failed=0)


_FAIL = {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}


@upstream("[sig-apps] Job with successPolicy should succeeded when all indexes succeeded [Conformance]")
def test_a_success_policy_of_all_indexes(jobs):
    jobs.create("j", indexed("exit 0", 2, successPolicy={"rules": [{"succeededCount": 2}]}))
    assert jobs.condition("j", "SuccessCriteriaMet")["reason"] == "SuccessPolicy"
    assert jobs.condition("j", "Complete")["reason"] == "SuccessPolicy"
    assert jobs.until("j", succeeded=2, active=0, ready=0, terminating=0)["status"]["completedIndexes"] == "0,1"


@upstream(
    "[sig-apps] Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending [Conformance]"
)
def test_a_success_policy_of_some_indexes(jobs):
    script = 'test "$JOB_COMPLETION_INDEX" = 0 && exit 0; sleep 1000'
    jobs.create("j", indexed(script, 2, successPolicy={"rules": [{"succeededIndexes": "0"}]}))
    assert jobs.condition("j", "SuccessCriteriaMet")["reason"] == "SuccessPolicy"
    assert jobs.condition("j", "Complete")["reason"] == "SuccessPolicy"
    assert jobs.until("j", succeeded=1, active=0, ready=0, terminating=0)["status"]["completedIndexes"] == "0"


@upstream(
    "[sig-apps] Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending [Conformance]"
)
def test_a_success_policy_of_so_many_indexes(jobs):
    script = 'test "$JOB_COMPLETION_INDEX" = 1 && exit 0; sleep 1000'
    jobs.create("j", indexed(script, 3, successPolicy={"rules": [{"succeededCount": 1}]}))
    assert jobs.condition("j", "SuccessCriteriaMet")["reason"] == "SuccessPolicy"
    assert jobs.condition("j", "Complete")["reason"] == "SuccessPolicy"
    assert jobs.until("j", succeeded=1, active=0, ready=0, terminating=0)["status"]["completedIndexes"] == "1"


def test_a_finished_job_goes_by_itself(rest, jobs, pods):
    jobs.create("j", spec("exit 0", ttlSecondsAfterFinished=1))
    jobs.gone("j")
    rest.until(pods.path, lambda answer: not answer.body["items"])
