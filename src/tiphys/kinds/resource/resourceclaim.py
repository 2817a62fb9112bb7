"""ResourceClaim. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, has, immutable
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.strategy import StatusStrategy


class ResourceClaimStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        default_claim(new.setdefault("spec", {}))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from check_claim(new.get("spec") or {}, "spec")
        yield from immutable(new, old, "spec")


def default_claim(spec: Json) -> None:
    """In place; also of a template's spec."""
    for request in dig(spec, "devices", "requests") or ():
        for choice in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if choice:
                put_text(choice, "allocationMode", "ExactCount")
                if choice["allocationMode"] == "ExactCount" and not choice.get("count"):
                    choice["count"] = 1


def check_claim(spec: Json, path: str) -> Iterator[FieldError]:
    for index, request in enumerate(dig(spec, "devices", "requests") or ()):
        where = f"{path}.devices.requests[{index}]"
        yield from follows(request.get("name") or "", f"{where}.name", names.dns1123_label)
        if not request.get("exactly") and not request.get("firstAvailable"):
            yield required(where, "exactly one of `exactly` or `firstAvailable` is required")
        elif request.get("exactly"):
            yield from has(request["exactly"], f"{where}.exactly", "deviceClassName")


def _state(obj: Json) -> str:
    words = ["deleted"] if dig(obj, "metadata", "deletionTimestamp") else []
    words.append("allocated" if dig(obj, "status", "allocation") else "pending")
    if dig(obj, "status", "reservedFor"):
        words.append("reserved")
    return ",".join(words)


RESOURCE_CLAIMS = declare(
    group="resource.k8s.io", version="v1", kind="ResourceClaim", plural="resourceclaims",
    status=True,
    columns=(NAME, column("State", _state), AGE), strategy=ResourceClaimStrategy(),
)  # fmt: skip
