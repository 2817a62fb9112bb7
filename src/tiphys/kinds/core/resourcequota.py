"""ResourceQuota. Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.core.quota_validation import check_quota
from tiphys.kinds.core.resource_validation import check_amounts, check_quota_name
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


class ResourceQuotaStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, status = new.get("spec") or {}, new.get("status") or {}
        if old is None or spec != old.get("spec"):
            yield from check_quota(spec)
            before = set(dig(old or {}, "spec", "scopes") or ())
            if old is not None and set(spec.get("scopes") or ()) != before:
                yield invalid("spec.scopes", spec.get("scopes"), IMMUTABLE)
        if old is not None and status != old.get("status"):
            for field in ("hard", "used"):
                yield from check_amounts(status.get(field) or {}, f"status.{field}", check_quota_name)


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
