"""ResourceClaimTemplate. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names
from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.resource.claim_validation import check_claim
from tiphys.kinds.resource.resourceclaim import default_claim
from tiphys.kinds.strategy import KindStrategy


class ResourceClaimTemplate(Model):
    """`spec` has the `metadata` and the `spec` of the claims to be, as they were written."""

    metadata: ObjectMeta = ObjectMeta()
    spec: dict[str, Any] = {}


class ResourceClaimTemplateStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        default_claim(new.setdefault("spec", {}).setdefault("spec", {}))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is not None:
            yield from immutable(new, old, "spec")
            return
        meta = dig(new, "spec", "metadata") or {}
        yield from names.validate_labels(meta.get("labels") or {}, "spec.metadata.labels")
        yield from names.validate_annotations(meta.get("annotations") or {}, "spec.metadata.annotations")
        yield from check_claim(dig(new, "spec", "spec") or {}, "spec.spec")


RESOURCE_CLAIM_TEMPLATES = declare(
    ResourceClaimTemplate,
    group="resource.k8s.io", version="v1", kind="ResourceClaimTemplate", plural="resourceclaimtemplates",
    strategy=ResourceClaimTemplateStrategy(),
)  # fmt: skip
