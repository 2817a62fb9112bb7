"""ControllerRevision. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import NON_NEGATIVE, immutable
from tiphys.kinds.columns import AGE, NAME, NONE, column, number
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy


class ControllerRevision(Model):
    """`data` is what the controller kept, as it was written."""

    metadata: ObjectMeta = ObjectMeta()
    revision: int = 0
    data: msgspec.Raw = msgspec.Raw(b"null")


def _controller(obj: Json) -> str:
    owners = dig(obj, "metadata", "ownerReferences") or ()
    owner = next((owner for owner in owners if owner.get("controller")), None)
    if owner is None:
        return NONE
    group = owner.get("apiVersion", "").rpartition("/")[0]
    kind = owner.get("kind", "").lower()
    return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"


class ControllerRevisionStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if new.get("data") is None:
            yield required("data", "data is mandatory")
        if (new.get("revision") or 0) < 0:
            yield invalid("revision", new["revision"], NON_NEGATIVE)
        yield from immutable(new, old, "data")


CONTROLLER_REVISIONS = declare(
    ControllerRevision, group="apps", version="v1", kind="ControllerRevision", plural="controllerrevisions",
    columns=(NAME, column("Controller", _controller), number("Revision", "revision"), AGE),
    strategy=ControllerRevisionStrategy(),
)  # fmt: skip
