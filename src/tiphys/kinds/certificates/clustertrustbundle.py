"""ClusterTrustBundle. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

CLUSTER_TRUST_BUNDLES = declare(
    group="certificates.k8s.io", version="v1beta1", kind="ClusterTrustBundle", plural="clustertrustbundles",
    namespaced=False,
)  # fmt: skip
