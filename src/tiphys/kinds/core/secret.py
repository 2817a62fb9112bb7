"""Secret. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at


class Secret(Model):
    """`data` decodes from base64 to bytes."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = "Opaque"
    data: dict[str, bytes] = {}
    immutable: bool = False


SECRETS = declare(
    Secret, group="", version="v1", kind="Secret", plural="secrets", selectable_fields={"type": text_at("type")}
)
