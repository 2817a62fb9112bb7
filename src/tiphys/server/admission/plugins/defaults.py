"""DefaultStorageClass, DefaultIngressClass, StorageObjectInUseProtection, PersistentVolumeClaimResize.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.api import errors
from tiphys.api.quantity import Quantity, parse
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache, Collection

_STORAGE = "/registry/storage.k8s.io/storageclasses/"
_INGRESS = "/registry/networking.k8s.io/ingressclasses/"
_DEFAULT_STORAGE = (
    "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class",
)  # fmt: skip
_DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
PROTECTION = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection", "persistentvolumes": "kubernetes.io/pv-protection",
}  # fmt: skip


def _default(classes: Collection, annotations: Sequence[str]) -> str:
    """The class that is marked as default, of several the newest, or nothing."""
    found = []
    for entry in classes.items.values():
        meta = entry.decode()["metadata"]
        if any((meta.get("annotations") or {}).get(name) == "true" for name in annotations):
            found.append((meta.get("creationTimestamp", ""), entry.name))
    newest = max((when for when, _ in found), default="")
    return min((name for when, name in found if when == newest), default="")


class DefaultStorageClass(Plugin):
    operations = ("CREATE",)
    resources = (("", "persistentvolumeclaims"),)

    def __init__(self, cache: Cache) -> None:
        self._classes = cache.of(_STORAGE)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for("", "persistentvolumeclaims"):
            return
        obj = attributes.obj or {}
        said = _CLASS_ANNOTATION in (obj["metadata"].get("annotations") or {})
        if not said and obj["spec"].get("storageClassName") is None:
            name = _default(self._classes, _DEFAULT_STORAGE)
            if name:
                obj["spec"]["storageClassName"] = name


class DefaultIngressClass(Plugin):
    operations = ("CREATE",)
    resources = (("networking.k8s.io", "ingresses"),)

    def __init__(self, cache: Cache) -> None:
        self._classes = cache.of(_INGRESS)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for("networking.k8s.io", "ingresses"):
            return
        obj = attributes.obj or {}
        said = "kubernetes.io/ingress.class" in (obj["metadata"].get("annotations") or {})
        spec = obj.setdefault("spec", {})
        if not said and spec.get("ingressClassName") is None:
            name = _default(self._classes, _DEFAULT_INGRESS)
            if name:
                spec["ingressClassName"] = name


class StorageObjectInUseProtection(Plugin):
    """A volume or claim does not go while it is used; the protection controllers let it go."""

    operations = ("CREATE",)
    resources = (("", "persistentvolumes"), ("", "persistentvolumeclaims"))

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or attributes.resource.group or attributes.subresource:
            return
        finalizer = PROTECTION.get(attributes.resource.plural)
        if finalizer is not None and attributes.obj is not None:
            meta = attributes.obj["metadata"]
            if finalizer not in (meta.get("finalizers") or ()):
                meta["finalizers"] = [*(meta.get("finalizers") or ()), finalizer]


class PersistentVolumeClaimResize(Plugin):
    operations = ("UPDATE",)
    resources = (("", "persistentvolumeclaims"),)

    def __init__(self, cache: Cache) -> None:
        self._classes = cache.of(_STORAGE)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation != "UPDATE" or not attributes.is_for("", "persistentvolumeclaims"):
            return
        new, old = attributes.obj or {}, attributes.old or {}
        if _size(new) <= _size(old):
            return
        why = ""
        if (old.get("status") or {}).get("phase") != "Bound":
            why = "only bound persistent volume claims can be expanded"
        elif not self._grows(old):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
        if why:
            raise errors.denied("", "persistentvolumeclaims", attributes.name, why)

    def _grows(self, claim: Json) -> bool:
        annotations = claim["metadata"].get("annotations") or {}
        name = annotations.get(_CLASS_ANNOTATION) or claim["spec"].get("storageClassName")
        entry = self._classes.items.get(f"{_STORAGE}{name}") if name else None
        return entry is not None and entry.decode().get("allowVolumeExpansion") is True


def _size(claim: Json) -> Quantity:
    return parse(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage") or "0")
