"""CustomResourceDefinition. Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/"""

from __future__ import annotations

from typing import Any

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.apiextensions.strategy import CrdStrategy, unmarked
from tiphys.kinds.columns import CREATED_AT, NAME
from tiphys.kinds.declare import declare


class CrdNames(Model):
    plural: str = ""
    singular: str = ""
    kind: str = ""
    list_kind: str = ""
    short_names: list[str] = []
    categories: list[str] = []


class CrdVersion(Model):
    """`schema` is kept as data: it describes itself to the schema engine."""

    name: str
    served: bool = False
    storage: bool = False
    deprecated: bool = False
    deprecation_warning: str = ""
    schema: dict[str, Any] = {}
    subresources: dict[str, Any] = {}
    additional_printer_columns: list[dict[str, Any]] = []
    selectable_fields: list[dict[str, str]] = []


class CrdSpec(Model):
    group: str = ""
    scope: str = ""
    names: CrdNames = CrdNames()
    versions: list[CrdVersion] = []
    conversion: dict[str, Any] = {}
    preserve_unknown_fields: bool = False


class CrdCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class CrdStatus(Model):
    conditions: list[CrdCondition] = []
    accepted_names: CrdNames = CrdNames()
    stored_versions: list[str] = []


class CustomResourceDefinition(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: CrdSpec = CrdSpec()
    status: CrdStatus = CrdStatus()


CUSTOM_RESOURCE_DEFINITIONS = declare(
    CustomResourceDefinition, group="apiextensions.k8s.io", version="v1", kind="CustomResourceDefinition",
    plural="customresourcedefinitions", short_names=("crd", "crds"), categories=("api-extensions",),
    unconditional_update=False,
    namespaced=False, status=True,
    strategy=CrdStrategy(), own_finalizers=unmarked, columns=(NAME, CREATED_AT),
)  # fmt: skip
