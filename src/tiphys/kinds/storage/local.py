"""What marks volumes that are directories of a node, made for claims: the provisioner and the nodes agree on it."""

from __future__ import annotations

from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.volume_binding import PROVISIONED_BY
from tiphys.kinds.storage.storageclass import LOCAL_PROVISIONER

# Of a volume: the label with its node, and what holds it until the directory is gone.
NODE, FINALIZER = "tiphys.dev/node", "tiphys.dev/local-volume"
# Of a node: the annotation with the directory that its volumes are in.
DIRECTORY = "tiphys.dev/local-volumes"


def node_of(volume: PersistentVolume) -> str:
    """The node that has the volume's directory; "" for volumes of other provisioners."""
    if volume.metadata.annotations.get(PROVISIONED_BY) != LOCAL_PROVISIONER:
        return ""
    return volume.metadata.labels.get(NODE, "")
