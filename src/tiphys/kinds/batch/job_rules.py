"""Defaults, the generated selector and validation of a Job's spec.

Source: upstream's `SetDefaults_Job`, `generateSelector`, `ValidateJobSpec` and `ValidateJobSpecUpdate`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names, selectors
from tiphys.api.errors import invalid, not_supported, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.batch.job_policies import check_failure_policy, check_success_policy
from tiphys.kinds.checks import Errors, domain_prefixed_path, immutable, label_selector, non_negative
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
    # What the user put there instead is for validation to refuse.
    for key, value in ((JOB_NAME, name), ("job-name", name), (CONTROLLER_UID, uid), ("controller-uid", uid)):
        labels.setdefault(key, value)
    job["spec"].setdefault("selector", {}).setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


def check_job_spec(spec: Json, path: str) -> Errors:
    """All but the selector, which the job template of a CronJob does not have."""
    yield from non_negative(spec, path, *_LIMITS)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.get("managedBy") is not None:
        yield from domain_prefixed_path(spec["managedBy"], f"{path}.managedBy")
        if len(spec["managedBy"]) > _MAX_MANAGED_BY:
            yield too_long(f"{path}.managedBy", _MAX_MANAGED_BY)
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        yield not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        yield from _check_indexed(spec, path)
    elif mode in (None, "NonIndexed"):
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                yield invalid(f"{path}.{field}", spec[field], _NEEDS_INDEXES)
    if spec.get("podFailurePolicy") is not None:
        yield from check_failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.get("successPolicy") is not None:
        if mode != "Indexed":
            yield invalid(f"{path}.successPolicy", spec["successPolicy"], _NEEDS_INDEXES)
        else:
            yield from check_success_policy(spec, f"{path}.successPolicy")
    yield from _check_replacement(spec, f"{path}.podReplacementPolicy")
    yield from check_template(spec.get("template"), f"{path}.template", restart=None)
    yield from _check_restart(spec, f"{path}.template.spec.restartPolicy")


_LIMITS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_NEEDS_INDEXES = "requires indexed completion mode"
_MAX_MANAGED_BY = 63
_MAX_INDEXED, _MANY_COMPLETIONS, _FEW_FOR_MANY = 100_000, 100_000, 10_000


def _check_replacement(spec: Json, path: str) -> Errors:
    policy = spec.get("podReplacementPolicy")
    allowed = ("Failed", "TerminatingOrFailed") if spec.get("podFailurePolicy") is None else ("Failed",)
    if policy is not None and policy not in allowed:
        yield not_supported(path, policy, allowed)


def _check_restart(spec: Json, path: str) -> Errors:
    policy = dig(spec, "template", "spec", "restartPolicy")
    if policy in (None, "", "Always"):
        # Defaulting cannot be told from a wish.
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield not_supported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _check_indexed(spec: Json, path: str) -> Errors:
    completions, parallelism, most = (spec.get(name) for name in ("completions", "parallelism", "maxFailedIndexes"))
    if completions is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if parallelism is not None and parallelism > _MAX_INDEXED:
        rule = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", parallelism, rule)
    where = f"{path}.maxFailedIndexes"
    if completions is not None and most is not None and most > completions:
        yield invalid(where, most, "must be less than or equal to completions")
    if most is not None and most > _MAX_INDEXED:
        yield invalid(where, most, f"must be less than or equal to {_MAX_INDEXED}")
    if completions is None or completions <= _MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return
    if most is None:
        yield required(where, f"must be specified when completions is above {_MANY_COMPLETIONS}")
    rule = f"when completions are above {_MANY_COMPLETIONS} and used with backoff limit per index"
    for field, value in (("parallelism", parallelism), ("maxFailedIndexes", most)):
        if value is not None and value > _FEW_FOR_MANY:
            yield invalid(f"{path}.{field}", value, f"must be less than or equal to {_FEW_FOR_MANY} {rule}")


def check_generated_selector(job: Json) -> Errors:
    """That the labels and the selector which the server puts on are there and unchanged."""
    meta, spec = job.get("metadata") or {}, job.get("spec") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    name, uid = meta.get("name") or "", meta.get("uid") or ""
    expected = {"controller-uid": uid, "job-name": name, CONTROLLER_UID: uid, JOB_NAME: name}
    labels = dig(spec, "template", "metadata", "labels") or {}
    for key, value in expected.items():
        where = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            yield required(where, f"must be '{value}'")
        elif labels[key] != value:
            yield invalid(where, labels, f"must be '{value}'")
    selector = spec["selector"]
    if not any(label_selector(selector, "")) and not selectors.from_object(selector).matches(expected):
        yield invalid("spec.selector", selector, "`selector` not auto-generated")


def completions_warnings(spec: Json) -> Iterator[str]:
    """Of a Job's spec."""
    many = (spec.get("completions") or 0) > _MANY_COMPLETIONS and (spec.get("parallelism") or 0) > _FEW_FOR_MANY
    if spec.get("completionMode") == "Indexed" and many:
        yield (
            "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
            "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )


def check_hostnames(job: Json) -> Errors:
    """The pod of the last index must be able to bear its name."""
    completions = dig(job, "spec", "completions") or 0
    if dig(job, "spec", "completionMode") == "Indexed" and completions > 0:
        name = dig(job, "metadata", "name") or ""
        last = f"{name}-{completions - 1}"
        if names.dns1123_label(last):
            yield invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {last}")


def check_job_update(new: Json, old: Json) -> Errors:
    """What may change: parallelism, suspension, deadlines; of the template only scheduling, and only if suspended."""
    if dig(new, "spec", "completionMode") != "Indexed":
        yield from immutable(new, old, "spec.completions")
    elif dig(new, "spec", "completions") != dig(old, "spec", "completions"):
        completions = dig(new, "spec", "completions")
        if completions is not None and completions != dig(new, "spec", "parallelism"):
            yield invalid("spec.completions", completions, "can only be modified in tandem with spec.parallelism")
    yield from immutable(new, old, "spec.selector")
    if _fixed(new, old) != _fixed(old, old):
        yield invalid("spec.template", dig(new, "spec", "template"), "field is immutable")
    yield from immutable(new, old, *(f"spec.{field}" for field in _FIXED))


_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


def _fixed(job: Json, old: Json) -> Json:
    """The template without what may change while the job is suspended and none of its pods runs."""
    template: Json = dig(job, "spec", "template") or {}
    if not dig(old, "spec", "suspend") or dig(old, "status", "startTime"):
        return template
    loose = ("nodeSelector", "tolerations", "schedulingGates")
    spec = {name: value for name, value in (template.get("spec") or {}).items() if name not in loose}
    affinity = {kind: terms for kind, terms in (spec.pop("affinity", None) or {}).items() if kind != "nodeAffinity"}
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")}
    return {**template, "metadata": meta, "spec": {**spec, "affinity": affinity}}
