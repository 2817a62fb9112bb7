"""The rule that a workload's selector must select the pods of its template."""

from __future__ import annotations

from tiphys.api import selectors
from tiphys.api.errors import invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, label_selector
from tiphys.kinds.fields import dig


def check_selector(spec: Json) -> Errors:
    """`spec.selector` is there, is legal, is not empty and matches `spec.template`."""
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
        return
    problems = list(label_selector(selector, "spec.selector"))
    yield from problems
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")
    elif not problems:
        labels = dig(spec, "template", "metadata", "labels") or {}
        if not selectors.from_object(selector).matches(labels):
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
