"""PersistentVolumeClaim. Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.volume import ClaimSpec
from tiphys.kinds.declare import declare


class ClaimCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class ClaimStatus(Model):
    phase: str = "Pending"
    access_modes: list[str] = []
    capacity: dict[str, str] = {}
    conditions: list[ClaimCondition] = []


class PersistentVolumeClaim(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


PERSISTENT_VOLUME_CLAIMS = declare(
    PersistentVolumeClaim, group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims",
    short_names=("pvc",), status=True,
)  # fmt: skip
