"""ControllerRevision. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

import msgspec

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class ControllerRevision(Model):
    """`data` is what the controller kept, as it was written."""

    metadata: ObjectMeta = ObjectMeta()
    revision: int = 0
    data: msgspec.Raw = msgspec.Raw(b"null")


CONTROLLER_REVISIONS = declare(
    ControllerRevision, group="apps", version="v1", kind="ControllerRevision", plural="controllerrevisions"
)
