"""ConfigMap. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, forbidden, invalid, too_long
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy


class ConfigMap(Model):
    """`binary_data` decodes from base64 to bytes."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}
    immutable: bool = False


MAX_SIZE = 1024 * 1024


class ConfigMapStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from frozen(new, old, "data", "binaryData")
        text, binary = new.get("data") or {}, new.get("binaryData") or {}
        for key in text:
            yield from follows(key, f"data[{key}]", names.config_key)
            if key in binary:
                yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in binary:
            yield from follows(key, f"binaryData[{key}]", names.config_key)
        size = sum(len(value.encode()) for value in text.values())
        size += sum(map(decoded_size, binary.values()))
        if size > MAX_SIZE:
            # The path is that of the object as a whole, which upstream's prints so.
            yield too_long("<nil>", MAX_SIZE)


def decoded_size(text: str) -> int:
    """Bytes that base64 stands for."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def frozen(new: Json, old: Json | None, *fields: str) -> Iterator[FieldError]:
    """What `immutable: true` forbids: to change the fields, and to take it back."""
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield forbidden(field, "field is immutable when `immutable` is set")


def _count(obj: Json) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


CONFIG_MAPS = declare(
    ConfigMap, group="", version="v1", kind="ConfigMap", plural="configmaps", short_names=("cm",),
    columns=(NAME, column("Data", _count), AGE), strategy=ConfigMapStrategy(),
)  # fmt: skip
