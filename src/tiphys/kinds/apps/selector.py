"""The rule that a workload's selector must select the pods of its template."""

from __future__ import annotations

from tiphys.api import selectors
from tiphys.api.errors import invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, label_selector
from tiphys.kinds.fields import dig

_MISMATCH = "`selector` does not match template `labels`"


def check_selector(spec: Json, kind: str) -> Errors:
    """`spec.selector` is there, legal, not empty and matches `spec.template`; `kind` is what upstream's text says."""
    selector = spec.get("selector")
    labels = dig(spec, "template", "metadata", "labels")
    if selector is None:
        # What selects nothing does not select the template either.
        yield required("spec.selector")
        yield invalid("spec.template.metadata.labels", labels, _MISMATCH)
        return
    problems = list(label_selector(selector, "spec.selector"))
    yield from problems
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        if kind != "job":
            yield invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
    elif not problems and not selectors.from_object(selector).matches(labels or {}):
        yield invalid("spec.template.metadata.labels", labels, _MISMATCH)
