"""LeaseCandidate. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy

LEASE_CANDIDATES = declare(
    group="coordination.k8s.io", version="v1beta1", kind="LeaseCandidate", plural="leasecandidates",
    strategy=KindStrategy(),
)  # fmt: skip
