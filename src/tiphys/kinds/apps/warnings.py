"""What upstream warns of in workloads that are legal: names that no pod can bear well, and their templates."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.resource import Json
from tiphys.kinds.core.pod_warnings import template_warnings
from tiphys.kinds.fields import dig

_NAME = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended"


def workload_warnings(new: Json, old: Json | None, *, named: bool = True) -> Iterator[str]:
    """`named`: whether pods are named after it. An update is worth words only if it changed the spec."""
    if old is None and named:
        problems = names.dns1123_label(dig(new, "metadata", "name") or "")
        if problems:
            yield f"metadata.name: {_NAME}: [{' '.join(problems)}]"
    if old is None or new.get("spec") != old.get("spec"):
        yield from template_warnings(dig(new, "spec", "template"), "spec.template")
