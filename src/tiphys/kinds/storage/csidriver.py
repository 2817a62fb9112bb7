"""CSIDriver. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, not_supported
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable, one_of
from tiphys.kinds.columns import AGE, NAME, NONE, UNSET, column, flag, joined
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import KindStrategy

_FLAGS = {
    "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False,
    "seLinuxMount": False,
}  # fmt: skip


class CsiDriverStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        for name, value in _FLAGS.items():
            put_default(spec, name, value)
        put_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType")
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from one_of(spec, "spec", "fsGroupPolicy", ("File", "None", "ReadWriteOnceWithFSType"))
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in ("Ephemeral", "Persistent"):
                yield not_supported("spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
        yield from immutable(new, old, "spec.attachRequired", "spec.volumeLifecycleModes")


CSI_DRIVERS = declare(
    group="storage.k8s.io", version="v1", kind="CSIDriver", plural="csidrivers", unconditional_update=False,
    namespaced=False,
    columns=(
        NAME, flag("AttachRequired", "spec", "attachRequired"), flag("PodInfoOnMount", "spec", "podInfoOnMount"),
        flag("StorageCapacity", "spec", "storageCapacity"),
        column("TokenRequests", lambda obj: joined(
            (token.get("audience", "") for token in dig(obj, "spec", "tokenRequests") or ()), empty=UNSET
        )),
        flag("RequiresRepublish", "spec", "requiresRepublish"),
        column("Modes", lambda obj: joined(dig(obj, "spec", "volumeLifecycleModes") or (), empty=NONE)), AGE,
    ),
    strategy=CsiDriverStrategy(),
)  # fmt: skip
