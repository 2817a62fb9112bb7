"""Which nodes a volume can be reached from or made on, as masks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import msgspec
import numpy as np

from tiphys.api.quantity import parse
from tiphys.api.selectors import LabelSelector, from_object
from tiphys.kinds.core.affinity import NodeSelector, NodeSelectorTerm
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.node_selector import term_matches
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import class_of, requested
from tiphys.kinds.storage.csistoragecapacity import CsiStorageCapacity
from tiphys.kinds.storage.storageclass import NO_PROVISIONER, StorageClass
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugins.node_affinity import term_key
from tiphys.scheduler.volumes import Volumes


def nodes_of(selector: NodeSelector | None, cluster: Cluster) -> Mask:
    """The nodes that a selector selects; all if there is none."""
    if selector is None:
        return np.ones(len(cluster.rows), np.bool_)
    mask = np.zeros(len(cluster.rows), np.bool_)
    for term in selector.node_selector_terms:
        mask |= _of_term(term, cluster)
    return mask


def nodes_of_any(selectors: Iterable[NodeSelector | None], cluster: Cluster) -> Mask:
    """The nodes that any of many selectors selects: those of volumes of one node each are looked up all at once."""
    mask, values = np.zeros(len(cluster.rows), np.bool_), dict[str, set[str]]()
    for selector in selectors:
        if selector is None:
            return np.ones(len(cluster.rows), np.bool_)
        terms = selector.node_selector_terms
        rules = terms[0].match_expressions if len(terms) == 1 and not terms[0].match_fields else []
        if len(rules) == 1 and rules[0].operator == "In":
            values.setdefault(rules[0].key, set()).update(rules[0].values)
        else:
            mask |= nodes_of(selector, cluster)
    for key, wanted in values.items():
        mask |= cluster.domains(key).having(wanted)
    return mask


def _of_term(term: NodeSelectorTerm, cluster: Cluster) -> Mask:
    expressions = term.match_expressions
    if term.match_fields or not expressions or any(each.operator != "In" for each in expressions):
        return cluster.where(("PersistentVolume", term_key(term)), lambda node: term_matches(term, node))
    # Of volumes that are on one node each there are as many as nodes: no mask is kept for each.
    mask = cluster.domains(expressions[0].key).having(expressions[0].values)
    for each in expressions[1:]:
        mask &= cluster.domains(each.key).having(each.values)
    return mask


def provisionable(claim: PersistentVolumeClaim, cluster: Cluster) -> tuple[Mask, Mask]:
    """The nodes for which a volume can be made: by the rules of its class, and as far as there is room for it."""
    view, size = cluster.view(Volumes), len(cluster.rows)
    nowhere, everywhere = np.zeros(size, np.bool_), np.ones(size, np.bool_)
    storage = view.classes.get(class_of(claim))
    if storage is None or storage.provisioner in ("", NO_PROVISIONER) or view.kept(claim) is not None:
        return nowhere, everywhere
    able = _allowed(storage, cluster)
    selected = view.selected(claim)
    if selected:
        row = cluster.row(selected)
        chosen = nowhere.copy()
        if row is not None:
            chosen[row] = True
        able = able & chosen
    driver = view.drivers.get(storage.provisioner)
    if driver is None or not driver.spec.storage_capacity:
        return able, everywhere
    return able, _roomy(claim, storage, cluster)


def _allowed(storage: StorageClass, cluster: Cluster) -> Mask:
    if not storage.allowed_topologies:
        return np.ones(len(cluster.rows), np.bool_)
    mask = np.zeros(len(cluster.rows), np.bool_)
    for term in storage.allowed_topologies:
        within = np.ones(len(cluster.rows), np.bool_)
        for each in term.match_label_expressions:
            within &= cluster.domains(each.key).having(each.values)
        mask |= within
    return mask


def _roomy(claim: PersistentVolumeClaim, storage: StorageClass, cluster: Cluster) -> Mask:
    mask = np.zeros(len(cluster.rows), np.bool_)
    for capacity in cluster.view(Volumes).capacities.values():
        if capacity.storage_class_name == storage.metadata.name and _is_enough(capacity, claim):
            selector = from_object(msgspec.to_builtins(capacity.node_topology))
            mask |= cluster.where(("CSIStorageCapacity", selector), partial(_selects, selector))
    return mask


def _is_enough(capacity: CsiStorageCapacity, claim: PersistentVolumeClaim) -> bool:
    most = capacity.maximum_volume_size or capacity.capacity
    return most is not None and parse(most) >= requested(claim)


def _selects(selector: LabelSelector, node: Node) -> bool:
    return selector.matches(node.metadata.labels)
