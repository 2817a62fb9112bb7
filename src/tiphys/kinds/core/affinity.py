"""Where a pod may run, as the scheduler reads it. Source: the Affinity and Toleration definitions of core/v1."""

from __future__ import annotations

from tiphys.api.meta import Model

# The wire's names are a sentence long.
_AFFINITY = {
    "required": "requiredDuringSchedulingIgnoredDuringExecution",
    "preferred": "preferredDuringSchedulingIgnoredDuringExecution",
}


class LabelSelectorRequirement(Model):
    key: str
    operator: str
    values: list[str] = []


class LabelSelector(Model):
    """metav1.LabelSelector; empty selects everything, absent (None where it is optional) nothing."""

    match_labels: dict[str, str] = {}
    match_expressions: list[LabelSelectorRequirement] = []


class NodeSelectorTerm(Model):
    match_expressions: list[LabelSelectorRequirement] = []
    match_fields: list[LabelSelectorRequirement] = []


class NodeSelector(Model):
    """Terms are ORed; the requirements of a term are ANDed; operators include Gt and Lt."""

    node_selector_terms: list[NodeSelectorTerm] = []


class PreferredSchedulingTerm(Model):
    weight: int
    preference: NodeSelectorTerm


class NodeAffinity(Model, rename=_AFFINITY):
    required: NodeSelector | None = None
    preferred: list[PreferredSchedulingTerm] = []


class PodAffinityTerm(Model):
    topology_key: str
    label_selector: LabelSelector | None = None
    namespaces: list[str] = []
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[str] = []
    mismatch_label_keys: list[str] = []


class WeightedPodAffinityTerm(Model):
    weight: int
    pod_affinity_term: PodAffinityTerm


class PodAffinity(Model, rename=_AFFINITY):
    """Also the model of PodAntiAffinity: the two have one shape."""

    required: list[PodAffinityTerm] = []
    preferred: list[WeightedPodAffinityTerm] = []


class Affinity(Model):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(Model):
    """An empty `key` with operator Exists tolerates every taint, an empty `effect` every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class TopologySpreadConstraint(Model):
    max_skew: int
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"
    match_label_keys: list[str] = []
