"""Defaults, the generated selector and validation of a Job's spec.

Source: upstream's `SetDefaults_Job`, `generateSelector`, `ValidateJobSpec` and `ValidateJobSpecUpdate`.
"""

from __future__ import annotations

from tiphys.api.errors import invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, immutable, non_negative
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import check_template
from tiphys.kinds.fields import dig, put_default, put_text

JOB_NAME, CONTROLLER_UID = "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"
_MAX_INT32 = 2**31 - 1


def default_job_spec(spec: Json) -> None:
    """In place. Without completions and parallelism both are 1; with parallelism alone it is a work queue."""
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    put_default(spec, "parallelism", 1)
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else _MAX_INT32
    put_text(spec, "completionMode", "NonIndexed")
    put_default(spec, "suspend", False)
    policy = spec.get("podFailurePolicy")
    for rule in (policy or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            put_text(condition, "status", "True")
    put_default(spec, "podReplacementPolicy", "Failed" if policy is not None else "TerminatingOrFailed")
    put_default(spec, "manualSelector", False)
    default_template(spec.get("template") or {})


def select_own_pods(job: Json) -> None:
    """Give the template the labels of this job, old and new names alike, and select by its UID."""
    meta = job.get("metadata") or {}
    template = job["spec"].setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    name, uid = meta.get("name") or "", meta.get("uid") or ""
    labels |= {JOB_NAME: name, "job-name": name, CONTROLLER_UID: uid, "controller-uid": uid}
    job["spec"].setdefault("selector", {}).setdefault("matchLabels", {})[CONTROLLER_UID] = uid


def check_job_spec(spec: Json, path: str) -> Errors:
    """All but the selector, which the job template of a CronJob does not have."""
    limits = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
    yield from non_negative(spec, path, *limits, "backoffLimitPerIndex", "maxFailedIndexes")
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("Indexed", "NonIndexed"):
        yield not_supported(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
    if mode == "Indexed":
        yield from _check_indexed(spec, path)
    elif spec.get("backoffLimitPerIndex") is not None:
        yield invalid(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], "requires indexed completion mode")
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None and replacement not in ("Failed", "TerminatingOrFailed"):
        yield not_supported(f"{path}.podReplacementPolicy", replacement, ("Failed", "TerminatingOrFailed"))
    yield from _check_failure_policy(spec, path)
    if dig(spec, "template", "spec", "restartPolicy") in ("Always", "", None):
        allowed = ("OnFailure", "Never")
        given = dig(spec, "template", "spec", "restartPolicy") or ""
        if given:
            yield not_supported(f"{path}.template.spec.restartPolicy", given, allowed)
        else:
            yield required(f"{path}.template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\"")
        return
    yield from check_template(spec.get("template"), f"{path}.template", restart=("OnFailure", "Never"))


def _check_indexed(spec: Json, path: str) -> Errors:
    if spec.get("completions") is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    elif spec["completions"] > 100_000 and (spec.get("parallelism") or 0) > 10_000:
        rule = "must be less than or equal to 10000 when completions are beyond 100000"
        yield invalid(f"{path}.parallelism", spec["parallelism"], rule)
    if (spec.get("parallelism") or 0) > 100_000:
        rule = "must be less than or equal to 100000 when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", spec["parallelism"], rule)


def _check_failure_policy(spec: Json, path: str) -> Errors:
    policy = spec.get("podFailurePolicy")
    if policy is None:
        return
    if dig(spec, "template", "spec", "restartPolicy") != "Never":
        rule = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid(f"{path}.template.spec.restartPolicy", dig(spec, "template", "spec", "restartPolicy") or "", rule)
    for index, rule_ in enumerate(policy.get("rules") or ()):
        where = f"{path}.podFailurePolicy.rules[{index}]"
        actions = ("Count", "FailIndex", "FailJob", "Ignore")
        if rule_.get("action") not in actions:
            yield not_supported(f"{where}.action", rule_.get("action") or "", actions)
        codes, conditions = rule_.get("onExitCodes"), rule_.get("onPodConditions")
        if codes is not None and conditions:
            yield invalid(where, "", "specifying both OnExitCodes and OnPodConditions is not supported")
        elif codes is None and not conditions:
            yield invalid(where, "", "specifying one of OnExitCodes and OnPodConditions is required")
        elif codes is not None:
            if codes.get("operator") not in ("In", "NotIn"):
                yield not_supported(f"{where}.onExitCodes.operator", codes.get("operator") or "", ("In", "NotIn"))
            if not codes.get("values"):
                yield invalid(f"{where}.onExitCodes.values", [], "at least one value is required")


def check_job_update(new: Json, old: Json) -> Errors:
    """What may change: parallelism, suspension, deadlines; of the template only scheduling, and only if suspended."""
    if dig(old, "spec", "completionMode") != "Indexed":
        yield from immutable(new, old, "spec.completions")
    elif dig(new, "spec", "completions") != dig(old, "spec", "completions"):
        completions = dig(new, "spec", "completions")
        if completions is None or completions != dig(new, "spec", "parallelism"):
            yield invalid("spec.completions", completions, "can only be modified in tandem with parallelism")
    yield from immutable(new, old, "spec.selector", "spec.completionMode", "spec.podFailurePolicy")
    yield from immutable(new, old, "spec.backoffLimitPerIndex", "spec.managedBy", "spec.successPolicy")
    if _fixed(new, old) != _fixed(old, old):
        yield invalid("spec.template", dig(new, "spec", "template"), "field is immutable")


def _fixed(job: Json, old: Json) -> Json:
    """The template without what may change while the job is suspended and has not started."""
    template: Json = dig(job, "spec", "template") or {}
    if not dig(old, "spec", "suspend") or dig(old, "status", "startTime"):
        return template
    loose = ("affinity", "nodeSelector", "tolerations", "schedulingGates")
    spec = {name: value for name, value in (template.get("spec") or {}).items() if name not in loose}
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")}
    return {**template, "metadata": meta, "spec": spec}
