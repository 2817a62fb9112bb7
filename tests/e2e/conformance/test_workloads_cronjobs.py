from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, template, unique

pytestmark = pytest.mark.root


@pytest.fixture
def crons(rest, namespace) -> Kind:
    return Kind(rest, "batch/v1", "cronjobs", namespace)


@pytest.fixture
def jobs(rest, namespace) -> Kind:
    return Kind(rest, "batch/v1", "jobs", namespace)


def spec(policy: str, schedule: str, **more) -> dict:
    job = {"spec": {"template": template(script="sleep 1000", restartPolicy="OnFailure")}}
    return {"schedule": schedule, "concurrencyPolicy": policy, "jobTemplate": job, **more}


def active(rest, crons: Kind, name: str, count: int, besides: str = "") -> list[str]:
    """The jobs in its status once they are so many and `besides` is none of them."""

    def held(answer) -> list[str]:
        return [each["name"] for each in answer.body.get("status", {}).get("active", ())]

    def has(answer) -> bool:
        return len(held(answer)) == count and besides not in held(answer)

    return held(rest.until(f"{crons.path}/{name}", has, 90))


@upstream("[sig-apps] CronJob should schedule multiple jobs concurrently [Conformance]")
def test_jobs_run_beside_each_other(rest, crons, jobs):
    # Names are made of minutes, as upstream's are.
    crons.create("c", spec("Allow", "* * * * *"))
    (first,) = active(rest, crons, "c", 1)
    assert first in active(rest, crons, "c", 2)
    crons.delete("c")
    rest.until(jobs.path, lambda answer: not answer.body["items"])


@upstream("[sig-apps] CronJob should replace jobs when ReplaceConcurrent [Conformance]")
def test_a_job_makes_way_for_the_next(rest, crons, jobs):
    crons.create("c", spec("Replace", "* * * * *"))
    (first,) = active(rest, crons, "c", 1)

    def another(answer) -> bool:
        names = [job["metadata"]["name"] for job in answer.body["items"]]
        return len(names) == 1 and first not in names

    rest.until(jobs.path, another, 90)
    active(rest, crons, "c", 1, besides=first)


@upstream("[sig-apps] CronJob should support CronJob API operations [Conformance]")
def test_every_verb(rest, crons):
    name, label = unique("c"), unique("special")
    seen = rest.ok("GET", crons.path)["metadata"]["resourceVersion"]
    for each in (name, f"{name}-2", f"{name}-3"):
        crons.create(each, spec("Allow", "0 0 1 1 *", suspend=True), labels={"special": label})
    selector = f"special={label}"
    events = rest.events(crons.path, resourceVersion=seen, labelSelector=selector, timeoutSeconds=20)
    assert next(events)[0] == "ADDED"
    assert len(rest.ok("GET", "/apis/batch/v1/cronjobs", labelSelector=selector)["items"]) == 3
    assert len(crons.list(selector)) == 3
    patched = crons.merge(name, {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"]["patched"] == "true"
    read = crons.get(name)
    read["metadata"]["annotations"]["updated"] = "true"
    assert rest.ok("PUT", f"{crons.path}/{name}", read)["metadata"]["annotations"]["updated"] == "true"
    stamp = "2024-01-01T00:00:00Z"
    status = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"lastScheduleTime": stamp}}
    patched = crons.merge(name, {**status, "spec": {"suspend": False}}, "/status")
    assert patched["status"]["lastScheduleTime"] == stamp
    assert patched["spec"]["suspend"] is True
    read = rest.ok("GET", f"{crons.path}/{name}/status")
    read["status"]["lastScheduleTime"] = "2024-01-02T00:00:00Z"
    assert rest.ok("PUT", f"{crons.path}/{name}/status", read)["status"]["lastScheduleTime"] == "2024-01-02T00:00:00Z"
    crons.delete(name)
    crons.gone(name)
    rest.ok("DELETE", crons.path, labelSelector=selector)
    rest.until(crons.path, lambda answer: not answer.body["items"], labelSelector=selector)
