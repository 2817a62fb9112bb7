"""StorageClass. Source: https://kubernetes.io/docs/concepts/storage/storage-classes/"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, forbidden, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Column, Json
from tiphys.kinds.checks import follows, immutable, one_of
from tiphys.kinds.columns import AGE, at, flag
from tiphys.kinds.core.node_labels import deprecation
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.storage.parameters import check_parameters, check_provisioner
from tiphys.kinds.strategy import KindStrategy

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
# The binding mode in which a claim waits until a pod that uses it has a node.
DELAYED = "WaitForFirstConsumer"
# Of classes whose volumes are directories on nodes, made by the nodes' own kubelets.
LOCAL_PROVISIONER = "tiphys.dev/local"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


class TopologyRequirement(Model):
    key: str
    values: list[str] = []


class TopologyTerm(Model):
    match_label_expressions: list[TopologyRequirement] = []


class StorageClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    parameters: dict[str, str] = {}
    reclaim_policy: str = "Delete"
    mount_options: list[str] = []
    allow_volume_expansion: bool = False
    volume_binding_mode: str = "Immediate"
    allowed_topologies: list[TopologyTerm] = []

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get(DEFAULT_CLASS) == "true"


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The class that is marked as default; of several the newest."""
    marked = sorted((each for each in classes if each.default), key=lambda each: each.metadata.name)
    return max(marked, key=lambda each: each.metadata.creation_timestamp, default=None)


class StorageClassStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        put_text(new, "reclaimPolicy", "Delete")
        put_text(new, "volumeBindingMode", "Immediate")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from check_provisioner(new.get("provisioner") or "", "provisioner")
        yield from check_parameters(new.get("parameters") or {}, "parameters", needed=False)
        yield from one_of(new, "", "reclaimPolicy", ("Delete", "Retain"))
        yield from one_of(new, "", "volumeBindingMode", ("Immediate", "WaitForFirstConsumer"))
        yield from _check_topologies(new.get("allowedTopologies") or [])
        if old is not None:
            for field in ("parameters", "provisioner", "reclaimPolicy"):
                if (new.get(field) or {}) != (old.get(field) or {}):
                    yield forbidden(field, "updates to " + field + " are forbidden.")
            yield from immutable(new, old, "volumeBindingMode")

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        for index, term in enumerate(new.get("allowedTopologies") or ()):
            for position, expression in enumerate(term.get("matchLabelExpressions") or ()):
                text = deprecation(expression.get("key") or "")
                if text is not None:
                    yield f"allowedTopologies[{index}].matchLabelExpressions[{position}].key: {text}"


def _check_topologies(terms: list[Json]) -> Iterator[FieldError]:
    """No two terms may say the same; upstream compares each with as many empty ones as there are terms too."""
    seen: list[dict[str, set[str]]] = [{} for _ in terms]
    for index, term in enumerate(terms):
        path, found = f"allowedTopologies[{index}].matchLabelExpressions", {}
        for position, expression in enumerate(term.get("matchLabelExpressions") or ()):
            where, key, values = f"{path}[{position}]", expression.get("key") or "", expression.get("values") or []
            if not values:
                yield required(f"{where}.values")
            for place, value in enumerate(values):
                if value in values[:place]:
                    yield duplicate(f"{where}.values[{place}]", value)
            yield from follows(key, f"{where}.key", names.label_key)
            if key in found:
                yield duplicate(f"{where}.key", key)
            found[key] = set(values)
        for _ in range(seen.count(found)):
            yield duplicate(path, "")
        seen.append(found)


def _name(obj: Json) -> str:
    default = (dig(obj, "metadata", "annotations") or {}).get(DEFAULT_CLASS) == "true"
    return f"{dig(obj, 'metadata', 'name') or ''}{' (default)' if default else ''}"


STORAGE_CLASSES = declare(
    StorageClass, group="storage.k8s.io", version="v1", kind="StorageClass", plural="storageclasses",
    short_names=("sc",), namespaced=False,
    columns=(
        Column("Name", lambda obj, _now: _name(obj), format="name"), at("Provisioner", "provisioner"),
        at("ReclaimPolicy", "reclaimPolicy"), at("VolumeBindingMode", "volumeBindingMode"),
        flag("AllowVolumeExpansion", "allowVolumeExpansion"), AGE,
    ),
    strategy=StorageClassStrategy(),
)  # fmt: skip
