"""PodTemplate. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-template-v1/"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.columns import NAME, column, map_text, template_columns
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import RESTART_POLICIES, check_template
from tiphys.kinds.core.pod_warnings import template_warnings
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy


class PodTemplateStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        default_template(new.setdefault("template", {}))

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return template_warnings(new.get("template"), "template")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        return check_template(new.get("template"), "template", restart=RESTART_POLICIES)


POD_TEMPLATES = declare(
    group="", version="v1", kind="PodTemplate", plural="podtemplates",
    columns=(
        NAME, *(replace(shown, priority=0) for shown in template_columns("template")),
        column("Pod Labels", lambda obj: map_text(dig(obj, "template", "metadata", "labels"))),
    ),
    strategy=PodTemplateStrategy(),
)  # fmt: skip
