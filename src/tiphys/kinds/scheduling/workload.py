"""Workload: the templates of the PodGroups that a controller makes. Alpha upstream, served here by default.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, required, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, has, immutable, unique
from tiphys.kinds.declare import declare
from tiphys.kinds.scheduling.policy import check_group
from tiphys.kinds.strategy import KindStrategy

_TEMPLATES = 8


class WorkloadStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from immutable(new, old, "spec.podGroupTemplates")
        if old is not None and (old.get("spec") or {}).get("controllerRef"):
            yield from immutable(new, old, "spec.controllerRef")
        if old is not None:
            return
        templates = spec.get("podGroupTemplates") or []
        if not templates:
            yield required("spec.podGroupTemplates", "must have at least one item")
        if len(templates) > _TEMPLATES:
            yield too_many("spec.podGroupTemplates", len(templates), _TEMPLATES)
        yield from unique(templates, "spec.podGroupTemplates", "name")
        for index, template in enumerate(templates):
            path = f"spec.podGroupTemplates[{index}]"
            yield from follows(template.get("name") or "", f"{path}.name", names.dns1123_label)
            yield from check_group(template, path)
        if spec.get("controllerRef") is not None:
            yield from has(spec["controllerRef"], "spec.controllerRef", "kind", "name")


WORKLOADS = declare(
    group="scheduling.k8s.io", version="v1alpha2", kind="Workload", plural="workloads",
    strategy=WorkloadStrategy(),
)  # fmt: skip
