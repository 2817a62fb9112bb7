"""What `tiphys why` says of pods that wait for volumes: what is wrong, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.kinds.core.node_selector import selects
from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import class_of, is_bound, requested
from tiphys.kinds.storage.storageclass import NO_PROVISIONER
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.plugins.volume_restrictions import users
from tiphys.scheduler.plugins.volume_zone import bound_volumes, zones
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.topology import provisionable
from tiphys.scheduler.volumes import Volumes


def of_refusal(info: PodInfo, cluster: Cluster) -> str:
    """What would have to be there for any node to do; "" if it is not the claims."""
    view = cluster.view(Volumes)
    for key, owned in info.claims:
        claim, (namespace, _, name) = view.claims.get(key), key.partition("/")
        if claim is None and owned:
            return f"the claim {name}, which the ephemeral volume controller makes for the pod"
        if claim is None:
            return f"a PersistentVolumeClaim {name} in the namespace {namespace}"
        if claim.status.phase == "Lost":
            return f"another claim, for the volume {claim.spec.volume_name} of claim {name} is gone with its data"
        if claim.metadata.deletion_timestamp:
            return f"another claim, or this one made anew: {name} is being deleted"
        if not is_bound(claim) and not view.delayed(claim):
            return _unbound(claim, view)
    return ""


def _unbound(claim: PersistentVolumeClaim, view: Volumes) -> str:
    name, class_ = claim.metadata.name, class_of(claim)
    if claim.spec.volume_name:
        return f"a PersistentVolume {claim.spec.volume_name} that claim {name} may have, which it names"
    storage = view.classes.get(class_)
    if class_ and storage is None:
        return f"a StorageClass {class_}, which claim {name} names, or a free PersistentVolume of that class"
    if storage is None:
        return f"{_wanted(claim)} for claim {name}, or a storageClassName in it"
    if storage.provisioner == NO_PROVISIONER:
        return f"{_wanted(claim)} for claim {name}"
    return f"a volume for claim {name} from {storage.provisioner}: `kubectl describe pvc {name}` tells what it does"


def _wanted(claim: PersistentVolumeClaim) -> str:
    """The volume that would do for a claim."""
    class_, modes = class_of(claim), ",".join(claim.spec.access_modes)
    of = f" of class {class_}" if class_ else ""
    return f"a free PersistentVolume{of} of {requested(claim)} or more with {modes}"


def of_node(info: PodInfo, cluster: Cluster, row: int) -> Iterator[tuple[str, str]]:
    """(what is wrong with the node, what would mend it), for a pod that VolumeBinding refuses there."""
    view, entry = cluster.view(Volumes), cluster.rows[row]
    assert entry is not None, "only rows with nodes are looked at"
    for key, _ in info.claims:
        claim = view.claims.get(key)
        if claim is None:
            continue
        volume = view.volumes.get(claim.spec.volume_name) or view.kept(claim)
        name = claim.metadata.name
        if volume is not None:
            required = volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None
            if not selects(required, entry.node):
                yield f"does not have the volume {volume.metadata.name} of claim {name}", _home(volume)
                return
        elif is_bound(claim):
            yield f"has no volume {claim.spec.volume_name}: it is gone, with the data of claim {name}", "another claim"
            return
    unbound = (view.claims[key] for key, _ in info.claims if key in view.claims)
    for claim in unbound:
        if not is_bound(claim) and view.kept(claim) is None:
            yield from _made(claim, cluster, row)
            return


def _made(claim: PersistentVolumeClaim, cluster: Cluster, row: int) -> Iterator[tuple[str, str]]:
    view, name = cluster.view(Volumes), claim.metadata.name
    selected, storage = view.selected(claim), view.classes.get(class_of(claim))
    able, enough = provisionable(claim, cluster)
    if selected and selected != cluster.name(row):
        yield f"is not {selected}, on which the volume of claim {name} is being made", f"room for the pod on {selected}"
    elif storage is None or storage.provisioner in ("", NO_PROVISIONER):
        yield f"has no volume for claim {name}", f"{_wanted(claim)} there"
    elif not able[row]:
        keys = {each.key for term in storage.allowed_topologies for each in term.match_label_expressions}
        why = f"is outside of what StorageClass {storage.metadata.name} allows by {', '.join(sorted(keys))}"
        yield why, "a class that allows its nodes, or the node's labels set right"
    elif not enough[row]:
        yield f"has not {requested(claim)} left for claim {name}, says {storage.provisioner}", "a smaller claim"


def _home(volume: PersistentVolume) -> str:
    """Where the pod would find it."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None
    terms = required.node_selector_terms if required is not None else []
    rules = [f"{rule.key} {rule.operator} {','.join(rule.values)}" for term in terms for rule in term.match_expressions]
    return f"a node with {' or '.join(rules)}, where the volume is" if rules else "a node that has the volume"


def of_zone(info: PodInfo, cluster: Cluster, row: int) -> Iterator[tuple[str, str]]:
    for volume in bound_volumes(info, cluster):
        for key, values in zones(volume).items():
            if not cluster.domains(key).having(values)[row]:
                where = " or ".join(values)
                yield f"is not in {key} {where}, where volume {volume.metadata.name} is", f"a node in {where}"
                return


def holders(info: PodInfo, cluster: Cluster) -> list[PodInfo]:
    """The pods that use a claim of the pod's that one pod may use."""
    keys = {key for key, _ in info.claims}
    return [
        pod for row in sorted(users(info, cluster)) for pod in cluster.pods(row)
        if any(key in keys for key, _ in pod.claims)
    ]  # fmt: skip


def of_limits(info: PodInfo, cluster: Cluster, row: int) -> Iterator[tuple[str, str]]:
    counts = cluster.view(Volumes).limits
    name = cluster.name(row)
    said = ", ".join(f"{nodes[name]} of {driver}" for driver, nodes in counts.items() if name in nodes)
    yield f"has as many volumes as it may ({said})", "the end of pods with volumes there"


def awaited(info: PodInfo, cluster: Cluster) -> str:
    """What a pod that has a node in mind waits for before it is bound; "" if for nothing of the kind."""
    view = cluster.view(Volumes)
    for key, _ in info.claims:
        claim = view.claims.get(key)
        selected = view.selected(claim) if claim is not None and not is_bound(claim) else ""
        if claim is not None and selected:
            storage = view.classes.get(class_of(claim))
            maker = storage.provisioner if storage is not None else "nobody"
            name = claim.metadata.name
            return f"{maker} is to make the volume of claim {name} on {selected}: `kubectl describe pvc {name}`"
    return ""
