"""Which changes of nodes and pods can matter to what is scheduled."""

from __future__ import annotations

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod


def is_news(old: Pod | None, new: Pod) -> bool:
    """Whether a change of a pod can matter to where it may go; its conditions cannot."""
    if old is None or old.metadata.uid != new.metadata.uid:
        return True
    claims = old.status.resource_claim_statuses != new.status.resource_claim_statuses
    return claims or old.spec != new.spec or old.metadata.labels != new.metadata.labels


def counts_otherwise(old: Pod, new: Pod) -> bool:
    """Whether a change of a placed pod can matter to others; its status cannot."""
    return old.spec != new.spec or old.metadata.labels != new.metadata.labels or old.deleted != new.deleted


def differs(old: Node, new: Node) -> bool:
    """Whether a change of a node may make room; heartbeats do not."""
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old.status.allocatable != new.status.allocatable
    )
