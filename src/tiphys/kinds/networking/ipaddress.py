"""IPAddress. Source: https://kubernetes.io/docs/reference/networking/virtual-ips/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, required
from tiphys.api.resource import Json
from tiphys.kinds.addresses import check_canonical
from tiphys.kinds.checks import follows, immutable
from tiphys.kinds.columns import AGE, NAME, NONE, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, text_at
from tiphys.kinds.strategy import KindStrategy


class IpAddressStrategy(KindStrategy):
    def check_name(self, meta: Json) -> Iterator[FieldError]:
        """The name is the address."""
        if meta.get("name"):
            yield from check_canonical(meta["name"], "metadata.name")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is not None:
            yield from immutable(new, old, "spec.parentRef")
            return
        parent = dig(new, "spec", "parentRef")
        if not parent:
            yield required("spec.parentRef")
            return
        if parent.get("group"):
            yield from follows(parent["group"], "spec.parentRef.group", names.dns1123_subdomain)
        for field in ("resource", "name", "namespace"):
            if parent.get(field):
                yield from follows(parent[field], f"spec.parentRef.{field}", names.path_segment)
            elif field != "namespace":
                yield required(f"spec.parentRef.{field}")


def _parent(obj: Json) -> str:
    parent = dig(obj, "spec", "parentRef")
    if not parent:
        return NONE
    parts = (parent.get("group"), parent.get("resource"), parent.get("namespace"), parent.get("name"))
    resource = ".".join(part for part in (parts[1], parts[0]) if part)
    return "/".join(part for part in (resource, *parts[2:]) if part)


IP_ADDRESSES = declare(
    group="networking.k8s.io", version="v1", kind="IPAddress", plural="ipaddresses", short_names=("ip",),
    namespaced=False, selectable_fields={"spec.parentRef.name": text_at("spec", "parentRef", "name")},
    columns=(NAME, column("ParentRef", _parent), AGE), strategy=IpAddressStrategy(),
)  # fmt: skip
