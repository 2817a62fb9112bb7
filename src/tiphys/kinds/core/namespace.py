"""Namespace. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Subresource
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at


class NamespaceSpec(Model):
    finalizers: list[str] = []


class NamespaceCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class NamespaceStatus(Model):
    phase: str = "Active"
    conditions: list[NamespaceCondition] = []


class Namespace(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()

    @property
    def terminating(self) -> bool:
        return self.metadata.deletion_timestamp is not None


NAMESPACES = declare(
    Namespace, group="", version="v1", kind="Namespace", plural="namespaces", short_names=("ns",), namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"), status=True,
    subresources=(Subresource("finalize", "Namespace", ("update",)),),
    selectable_fields={"status.phase": text_at("status", "phase")},
)  # fmt: skip
