"""IPAddress. Source: https://kubernetes.io/docs/reference/networking/virtual-ips/"""

from __future__ import annotations

from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at

IP_ADDRESSES = declare(
    group="networking.k8s.io", version="v1", kind="IPAddress", plural="ipaddresses", short_names=("ip",),
    namespaced=False, selectable_fields={"spec.parentRef.name": text_at("spec", "parentRef", "name")},
)  # fmt: skip
