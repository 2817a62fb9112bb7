"""CSINode. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, follows, non_negative
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.core.volume_sources import check_driver_name
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy

_MAX_NODE_ID = 256


class NodeResources(Model):
    count: int | None = None


class NodeDriver(Model):
    name: str
    allocatable: NodeResources | None = None


class CsiNodeSpec(Model):
    drivers: list[NodeDriver] = []


class CsiNode(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: CsiNodeSpec = CsiNodeSpec()


class CsiNodeStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        drivers: list[Json] = dig(new, "spec", "drivers") or []
        seen: set[str] = set()
        for index, driver in enumerate(drivers):
            path = f"spec.drivers[{index}]"
            yield from _check_driver(driver, path)
            name = driver.get("name") or ""
            if name in seen:
                yield duplicate(f"{path}.name", name)
            seen.add(name)
            yield from _check_topology_keys(driver.get("topologyKeys") or [], path)
        for before in dig(old or {}, "spec", "drivers") or ():
            for driver in drivers:
                if driver.get("name") == before.get("name") and _lasting(driver) != _lasting(before):
                    yield invalid("spec.drivers", _lasting(driver), IMMUTABLE)


def _check_driver(driver: Json, path: str) -> Iterator[FieldError]:
    node = driver.get("nodeID") or ""
    yield from check_driver_name(driver.get("name") or "", f"{path}.name")
    if not node:
        yield required(f"{path}.nodeID")
    if len(node) > _MAX_NODE_ID:
        yield invalid(f"{path}.nodeID", node, f"must be {_MAX_NODE_ID} characters or less")
    yield from non_negative(driver.get("allocatable") or {}, f"{path}.allocatable", "count")


def _check_topology_keys(keys: list[str], path: str) -> Iterator[FieldError]:
    for index, key in enumerate(keys):
        if not key:
            yield required(path)
        if key in keys[:index]:
            yield duplicate(path, key)
        yield from follows(key, path, names.qualified_name)


def _lasting(driver: Json) -> Json:
    """What of a driver may not change."""
    return {field: value for field, value in driver.items() if field != "allocatable"}


CSI_NODES = declare(
    CsiNode, group="storage.k8s.io", version="v1", kind="CSINode", plural="csinodes", unconditional_update=False,
    namespaced=False,
    columns=(NAME, column("Drivers", lambda obj: len(dig(obj, "spec", "drivers") or ()), "integer"), AGE),
    strategy=CsiNodeStrategy(),
)  # fmt: skip
