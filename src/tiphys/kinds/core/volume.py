"""Volumes of a pod as the kubelet and the scheduler read them. Source: the Volume definition of core/v1.

Of sources that nothing here mounts only the CSI and claim ones are read; a Volume with none set is of another source.
"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import ObjectFieldSelector, ResourceFieldSelector, ResourceRequirements


class KeyToPath(Model):
    key: str
    path: str
    mode: int | None = None


class ConfigMapVolume(Model):
    name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(Model):
    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class DownwardApiFile(Model):
    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardApiVolume(Model):
    items: list[DownwardApiFile] = []
    default_mode: int = 0o644


class KeyProjection(Model):
    """Of a ConfigMap or Secret into a projected volume."""

    name: str = ""
    items: list[KeyToPath] = []
    optional: bool = False


class DownwardApiProjection(Model):
    items: list[DownwardApiFile] = []


class ServiceAccountTokenProjection(Model):
    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class ClusterTrustBundleProjection(Model):
    path: str
    name: str = ""
    signer_name: str = ""
    optional: bool = False


class VolumeProjection(Model):
    config_map: KeyProjection | None = None
    secret: KeyProjection | None = None
    downward_api: DownwardApiProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None


class ProjectedVolume(Model):
    sources: list[VolumeProjection] = []
    default_mode: int = 0o644


class EmptyDirVolume(Model):
    medium: str = ""
    size_limit: str | None = None


class HostPathVolume(Model):
    path: str
    type: str = ""


class ClaimVolume(Model):
    claim_name: str
    read_only: bool = False


class NfsVolume(Model):
    server: str
    path: str
    read_only: bool = False


class SecretReference(Model):
    name: str = ""
    namespace: str = ""


class CsiVolume(Model):
    driver: str
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: dict[str, str] = {}
    node_publish_secret_ref: SecretReference | None = None


class ImageVolume(Model):
    reference: str = ""
    pull_policy: str = ""


class TypedReference(Model):
    kind: str
    name: str
    api_group: str = ""
    namespace: str = ""


class ClaimSpec(Model):
    """The spec of a PersistentVolumeClaim."""

    access_modes: list[str] = []
    selector: LabelSelector | None = None
    resources: ResourceRequirements = ResourceRequirements()
    storage_class_name: str | None = None
    volume_attributes_class_name: str | None = None
    volume_mode: str = "Filesystem"
    volume_name: str = ""
    data_source: TypedReference | None = None
    data_source_ref: TypedReference | None = None


class ClaimTemplate(Model):
    spec: ClaimSpec
    metadata: ObjectMeta = ObjectMeta()


class EphemeralVolume(Model):
    volume_claim_template: ClaimTemplate | None = None


class Volume(Model):
    name: str
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward_api: DownwardApiVolume | None = None
    projected: ProjectedVolume | None = None
    empty_dir: EmptyDirVolume | None = None
    host_path: HostPathVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    ephemeral: EphemeralVolume | None = None
    nfs: NfsVolume | None = None
    csi: CsiVolume | None = None
    image: ImageVolume | None = None
