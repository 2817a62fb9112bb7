"""ClusterTrustBundle. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, too_long
from tiphys.api.resource import Json
from tiphys.kinds.certificates.pem import bundle_problems
from tiphys.kinds.checks import immutable
from tiphys.kinds.columns import NAME, NONE, at
from tiphys.kinds.core.signer_names import bundle_name_problems, check_signer_name
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, text_at
from tiphys.kinds.strategy import KindStrategy


class ClusterTrustBundleStrategy(KindStrategy):
    """Names are `signer:name:...` for the bundles of a signer, else without colons."""

    name_rule = staticmethod(names.path_segment)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        signer, bundle = spec.get("signerName") or "", spec.get("trustBundle") or ""
        if old is None:
            name = dig(new, "metadata", "name") or ""
            for problem in bundle_name_problems(name, signer):
                yield invalid("metadata.name", name, problem)
        if signer:
            yield from check_signer_name(signer, "spec.signerName")
        if old is None or bundle != (dig(old, "spec", "trustBundle") or ""):
            yield from _check_bundle(bundle)
        yield from immutable(new, old, "spec.signerName")


def _check_bundle(bundle: str) -> Iterator[FieldError]:
    path = "spec.trustBundle"
    if len(bundle.encode()) > _MAX_BUNDLE:
        yield too_long(path, _MAX_BUNDLE)
        return
    for problem in bundle_problems(bundle):
        yield invalid(path, "<value omitted>", problem)


_MAX_BUNDLE = 1024 * 1024

CLUSTER_TRUST_BUNDLES = declare(
    group="certificates.k8s.io", version="v1beta1", kind="ClusterTrustBundle", plural="clustertrustbundles",
    unconditional_update=False,
    namespaced=False,
    columns=(NAME, at("SignerName", "spec", "signerName", empty=NONE)),
    selectable_fields={"spec.signerName": text_at("spec", "signerName")}, strategy=ClusterTrustBundleStrategy(),
)  # fmt: skip
