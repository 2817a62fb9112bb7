"""What upstream warns of in a claim though it is legal. Source: upstream's `pkg/api/persistentvolumeclaim/util.go`."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import quantity
from tiphys.api.resource import Json
from tiphys.kinds.fields import dig

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def class_annotation_warnings(obj: Json) -> Iterator[str]:
    """Of a claim or a volume that names its class as it was done before v1.6."""
    if CLASS_ANNOTATION in (dig(obj, "metadata", "annotations") or {}):
        rule = 'deprecated since v1.8; use "storageClassName" attribute instead'
        yield f"metadata.annotations[{CLASS_ANNOTATION}]: {rule}"


def claim_warnings(spec: Json, path: str) -> Iterator[str]:
    """Of a claim's spec, also in a template."""
    for kind in ("requests", "limits"):
        amount = dig(spec, "resources", kind, "storage")
        if amount is not None and quantity.parse(amount).milli() % 1000:
            where = f"{path}.resources.{kind}[storage]"
            yield f'{where}: fractional byte value "{amount}" is invalid, must be an integer'
