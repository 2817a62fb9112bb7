"""CSIDriver. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiphys.api.errors import FieldError, duplicate, invalid, not_supported
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, immutable, one_of
from tiphys.kinds.columns import AGE, NAME, NONE, UNSET, column, flag, joined
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import KindStrategy


class CsiDriverSpec(Model):
    storage_capacity: bool = False


class CsiDriver(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: CsiDriverSpec = CsiDriverSpec()


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
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if spec == before:
            return
        yield from one_of(spec, "spec", "fsGroupPolicy", ("File", "None", "ReadWriteOnceWithFSType"))
        yield from _check_tokens(spec.get("tokenRequests") or ())
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in ("Ephemeral", "Persistent"):
                yield not_supported("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral"))
        period = spec.get("nodeAllocatableUpdatePeriodSeconds")
        if period is not None and period < 10:
            rule = "must be greater than or equal to 10 seconds"
            yield invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, rule)
        in_secrets = spec.get("serviceAccountTokenInSecrets")
        if in_secrets is not None and not spec.get("tokenRequests"):
            rule = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            yield invalid("spec.serviceAccountTokenInSecrets", in_secrets, rule)
        if before is not None and spec.get("attachRequired") != before.get("attachRequired"):
            yield invalid("spec.attachedRequired", spec.get("attachRequired"), IMMUTABLE)  # upstream's path
        yield from immutable(new, old, "spec.volumeLifecycleModes")


def _check_tokens(tokens: Iterable[Json]) -> Iterator[FieldError]:
    audiences: set[str] = set()
    for index, token in enumerate(tokens):
        path, audience = f"spec.tokenRequests[{index}]", token.get("audience") or ""
        if audience in audiences:
            yield duplicate(f"{path}.audience", audience)
            continue
        audiences.add(audience)
        seconds = token.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        if seconds is not None and seconds > 2**32:
            rule = "may not specify a duration larger than 2^32 seconds"
            yield invalid(f"{path}.expirationSeconds", seconds, rule)


CSI_DRIVERS = declare(
    CsiDriver, group="storage.k8s.io", version="v1", kind="CSIDriver", plural="csidrivers", unconditional_update=False,
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
