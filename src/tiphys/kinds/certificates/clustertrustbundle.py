"""ClusterTrustBundle. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.checks import has, immutable
from tiphys.kinds.columns import NAME, NONE, at
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at
from tiphys.kinds.strategy import KindStrategy


class ClusterTrustBundleStrategy(KindStrategy):
    """Names are `signer:name:...` for the bundles of a signer, else without colons."""

    name_rule = staticmethod(names.path_segment)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from has(new.get("spec") or {}, "spec", "trustBundle")
        yield from immutable(new, old, "spec.signerName")


CLUSTER_TRUST_BUNDLES = declare(
    group="certificates.k8s.io", version="v1beta1", kind="ClusterTrustBundle", plural="clustertrustbundles",
    unconditional_update=False,
    namespaced=False,
    columns=(NAME, at("SignerName", "spec", "signerName", empty=NONE)),
    selectable_fields={"spec.signerName": text_at("spec", "signerName")}, strategy=ClusterTrustBundleStrategy(),
)  # fmt: skip
