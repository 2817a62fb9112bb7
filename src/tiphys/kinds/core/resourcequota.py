"""ResourceQuota. Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


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


RESOURCE_QUOTAS = declare(
    ResourceQuota, group="", version="v1", kind="ResourceQuota", plural="resourcequotas", short_names=("quota",),
    status=True,
)  # fmt: skip
