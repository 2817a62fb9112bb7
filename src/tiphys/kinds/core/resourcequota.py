"""ResourceQuota. Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiphys.api.errors import FieldError, not_supported
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable, quantities
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import StatusStrategy


class ScopeRequirement(Model):
    scope_name: str
    operator: str
    values: list[str] = []


class ScopeSelector(Model):
    match_expressions: list[ScopeRequirement] = []


class ResourceQuotaSpec(Model):
    hard: dict[str, str] = {}
    scopes: list[str] = []
    scope_selector: ScopeSelector = ScopeSelector()


class ResourceQuotaStatus(Model):
    hard: dict[str, str] = {}
    used: dict[str, str] = {}


class ResourceQuota(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
    "VolumeAttributesClass",
)  # fmt: skip


class ResourceQuotaStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from quantities(spec.get("hard"), "spec.hard")
        for scope in spec.get("scopes") or ():
            if scope not in SCOPES:
                yield not_supported("spec.scopes", scope, SCOPES)
        yield from immutable(new, old, "spec.scopes")


def _usage(kind: str) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        hard, used = dig(obj, "status", "hard") or {}, dig(obj, "status", "used") or {}
        shown = [name for name in sorted(hard) if name.startswith("limits") == (kind == "limits")]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in shown)

    return read


RESOURCE_QUOTAS = declare(
    ResourceQuota, group="", version="v1", kind="ResourceQuota", plural="resourcequotas", short_names=("quota",),
    status=True,
    columns=(NAME, column("Request", _usage("requests")), column("Limit", _usage("limits")), AGE),
    strategy=ResourceQuotaStrategy(),
)  # fmt: skip
