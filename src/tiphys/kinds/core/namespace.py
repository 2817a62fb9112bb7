"""Namespace. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.checks import follows
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, text_at
from tiphys.kinds.strategy import KindStrategy


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


class NamespaceStrategy(KindStrategy):
    """`spec.finalizers` holds a namespace until its content is gone; only `finalize` changes them."""

    name_rule = staticmethod(names.dns1123_label)

    def default(self, new: Json) -> None:
        meta = new.setdefault("metadata", {})
        name = meta.get("name")
        if name:
            meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name}

    def prepare(self, new: Json, old: Json | None) -> None:
        spec = new.setdefault("spec", {})
        if old is None:
            new["status"] = {"phase": "Active"}
            if "kubernetes" not in (spec.get("finalizers") or ()):
                spec["finalizers"] = [*(spec.get("finalizers") or ()), "kubernetes"]
        if (new.get("metadata") or {}).get("deletionTimestamp"):
            new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        finalizers = dig(new, "spec", "finalizers") or ()
        for finalizer in finalizers if old is None or finalizers != dig(old, "spec", "finalizers") else ():
            yield from follows(finalizer, "spec.finalizers", names.qualified_name)
            if "/" not in finalizer and finalizer not in _STANDARD:
                rule = "name is neither a standard finalizer name nor is it fully qualified"
                yield invalid("spec.finalizers", finalizer, rule)
        phase = dig(new, "status", "phase") or ""
        if old is not None and phase != (dig(old, "status", "phase") or ""):
            deleted = dig(new, "metadata", "deletionTimestamp") is not None
            wanted, state = ("Terminating", "not empty") if deleted else ("Active", "empty")
            if phase != wanted:
                yield invalid("status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` is {state}")


_STANDARD = ("kubernetes", "orphan", "foregroundDeletion")


NAMESPACES = declare(
    Namespace, group="", version="v1", kind="Namespace", plural="namespaces", short_names=("ns",), namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"), status=True,
    subresources=(Subresource("finalize", "Namespace", ("update",)),),
    selectable_fields={"status.phase": text_at("status", "phase")},
    columns=(NAME, at("Status", "status", "phase"), AGE), strategy=NamespaceStrategy(),
    own_finalizers=lambda obj: dig(obj, "spec", "finalizers") or (),
)  # fmt: skip
