"""ResourceClaimTemplate. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.resource.resourceclaim import check_claim, default_claim
from tiphys.kinds.strategy import KindStrategy


class ResourceClaimTemplateStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        default_claim(new.setdefault("spec", {}).setdefault("spec", {}))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from check_claim(dig(new, "spec", "spec") or {}, "spec.spec")
        yield from immutable(new, old, "spec")


RESOURCE_CLAIM_TEMPLATES = declare(
    group="resource.k8s.io", version="v1", kind="ResourceClaimTemplate", plural="resourceclaimtemplates",
    strategy=ResourceClaimTemplateStrategy(),
)  # fmt: skip
