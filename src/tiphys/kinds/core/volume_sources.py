"""Validation of the sources that volumes of pods and PersistentVolumes share: disks, file servers, CSI drivers.

Each check takes the source, its path and whether it is a PersistentVolume's; those name the namespace of their secrets.
Source: upstream's `validateVolumeSource` and `ValidatePersistentVolumeSpec`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tiphys.api import names
from tiphys.api.errors import forbidden, invalid, not_supported, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, has
from tiphys.kinds.core.env_validation import check_descending_path, check_no_backsteps

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_PORTAL_RULE = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)
_INITIATORS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([a-zA-Z0-9\-.]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"eui.[a-zA-Z0-9]{16}$"),
    "naa": re.compile(r"naa.[a-zA-Z0-9]{32}$"),
}
_BYTE = "must be between {} and 255, inclusive"
_QUOBYTE = "must be a host:port pair or multiple pairs separated by commas"
_MANAGED_DISK = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_DISK = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
MORE_THAN_ONE = "may not specify more than 1 volume type"

Check = Callable[[Json, str, bool], Errors]


def needs(*fields: str) -> Check:
    """A check that some fields are there and not empty."""
    return lambda source, path, persistent: has(source, path, *fields)


def _disk(field: str) -> Check:
    def check(source: Json, path: str, persistent: bool) -> Errors:
        # The last step is upstream's name for it, not the field's.
        where = path.replace(".gcePersistentDisk", ".persistentDisk")
        yield from has(source, where, field)
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            yield invalid(f"{where}.partition", partition, _BYTE.format(1))

    return check


def check_host_path(source: Json, path: str, persistent: bool = False) -> Errors:
    if not source.get("path"):
        yield required(f"{path}.path")
        return
    yield from check_no_backsteps(source["path"], f"{path}.path")
    if source.get("type") is not None and source["type"] not in HOST_PATH_TYPES:
        yield not_supported(f"{path}.type", source["type"], HOST_PATH_TYPES)


def _local(source: Json, path: str, persistent: bool) -> Errors:
    if not source.get("path"):
        yield required(f"{path}.path")
    else:
        yield from check_no_backsteps(source["path"], f"{path}.path")


def _git_repo(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "repository")
    yield from check_descending_path(source.get("directory") or "", f"{path}.directory")


def _nfs(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "server", "path")
    if not (source.get("path") or "").startswith("/"):
        yield invalid(f"{path}.path", source.get("path") or "", "must be an absolute path")


def _iscsi(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "targetPortal")
    if not source.get("iqn"):
        yield required(f"{path}.iqn")
    else:
        yield from _check_initiator(source["iqn"], f"{path}.iqn", persistent)
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        yield invalid(f"{path}.lun", lun, _BYTE.format(0))
    secret = source.get("secretRef")
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and secret is None:
        yield required(f"{path}.secretRef")
    if persistent and secret is not None and not secret.get("name"):
        yield required(f"{path}.secretRef.name")
    if source.get("initiatorName") is not None:
        yield from _check_initiator(source["initiatorName"], f"{path}.initiatorname", persistent)


def _check_initiator(name: str, path: str, persistent: bool) -> Errors:
    pattern = _INITIATORS.get(name[:3])
    if pattern is None:
        yield invalid(path, name, "must be valid format" + ("" if persistent else " starting with iqn, eui, or naa"))
    elif pattern.match(name) is None:
        yield invalid(path, name, "must be valid format")


def portal_problem(name: str, source: Json) -> str | None:
    """What is wrong with an iSCSI volume's name and portal together."""
    long = source.get("initiatorName") is not None and len(f"{name}:{source.get('targetPortal') or ''}") > 64
    return _PORTAL_RULE if long else None


def _glusterfs(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "endpoints", "path")
    namespace = source.get("endpointsNamespace") if persistent else None
    if namespace is not None:
        rule = "if the endpointnamespace is set, it must be a valid namespace name"
        for problem in names.dns1123_label(namespace) if namespace else (rule,):
            yield invalid(f"{path}.endpointsNamespace", namespace, problem)


def _flocker(source: Json, path: str, persistent: bool) -> Errors:
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uuid:
        yield required(path, "one of datasetName and datasetUUID is required")
    if name and uuid:
        yield invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        yield invalid(f"{path}.datasetName", name, "must not contain '/'")


def _cinder(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "volumeID")
    yield from _check_secret(source, path, persistent)


def _check_secret(source: Json, path: str, persistent: bool) -> Errors:
    if source.get("secretRef") is not None:
        fields = ("name", "namespace") if persistent else ("name",)
        yield from has(source["secretRef"], f"{path}.secretRef", *fields)


def _quobyte(source: Json, path: str, persistent: bool) -> Errors:
    registry = source.get("registry") or ""
    if not registry:
        yield required(f"{path}.registry", _QUOBYTE)
    elif len(source.get("tenant") or "") >= 65:
        yield required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        for pair in registry.split(","):
            if re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*):[^:]*", pair) is None:
                yield invalid(f"{path}.registry", registry, _QUOBYTE)
    yield from has(source, path, "volume")


def _fc(source: Json, path: str, persistent: bool) -> Errors:
    targets, wwids = source.get("targetWWNs") or [], source.get("wwids") or []
    if not targets and not wwids:
        yield required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if targets and wwids:
        rule = "targetWWNs and wwids can not be specified simultaneously"
        yield invalid(f"{path}.targetWWNs", targets, rule)
    lun = source.get("lun")
    if targets and lun is None:
        yield required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif targets and lun is not None and not 0 <= lun <= 255:
        yield invalid(f"{path}.lun", lun, _BYTE.format(0))


def _flex_volume(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "driver")
    for key in source.get("options") or ():
        namespace = "." + key.partition("/")[0].lower()
        if namespace.endswith((".kubernetes.io", ".k8s.io")):
            yield invalid(f"{path}.options[{key}]", key, "kubernetes.io and k8s.io namespaces are reserved")


def _azure_file(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "secretName", "shareName")
    if persistent and source.get("secretNamespace") == "":
        yield required(f"{path}.secretNamespace")


def _azure_disk(source: Json, path: str, persistent: bool) -> Errors:
    yield from has(source, path, "diskName", "diskURI")
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    for field, value, allowed in (
        ("cachingMode", caching, ("None", "ReadOnly", "ReadWrite")),
        ("kind", kind, ("Dedicated", "Managed", "Shared")),
    ):
        if value is not None and value not in allowed:
            yield not_supported(f"{path}.{field}", value, allowed)
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        yield not_supported(f"{path}.diskURI", uri, (_MANAGED_DISK,))
    elif kind is not None and kind != "Managed" and not uri.startswith("https://"):
        yield not_supported(f"{path}.diskURI", uri, (_BLOB_DISK,))


def _storageos(source: Json, path: str, persistent: bool) -> Errors:
    if not source.get("volumeName"):
        yield required(f"{path}.volumeName")
    for field in ("volumeName", "volumeNamespace"):
        if source.get(field):
            yield from follows(source[field], f"{path}.{field}", names.dns1123_label)
    yield from _check_secret(source, path, persistent)


def check_driver_name(name: str, path: str) -> Errors:
    """The name of a CSI driver."""
    if not name:
        yield required(path)
    if len(name) > 63:
        yield too_long(path, 63)
    for problem in names.dns1123_subdomain(name.lower()):
        yield invalid(path, name, problem)


def _csi(source: Json, path: str, persistent: bool) -> Errors:
    yield from check_driver_name(source.get("driver") or "", f"{path}.driver")
    if persistent:
        yield from has(source, path, "volumeHandle")
        for field in ("controllerPublish", "controllerExpand", "nodePublish", "nodeExpand"):
            if source.get(f"{field}SecretRef") is not None:
                yield from _check_reference(source[f"{field}SecretRef"], f"{path}.{field}SecretRef")
        return
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        yield required(f"{path}.nodePublishSecretRef.name")
    elif secret is not None:
        yield from follows(secret["name"], f"{path}.name", names.dns1123_subdomain)


def _check_reference(secret: Json, path: str) -> Errors:
    for field, rule in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
        if not secret.get(field):
            yield required(f"{path}.{field}")
        else:
            yield from follows(secret[field], f"{path}.{field}", rule)


SOURCES: Mapping[str, Check] = {
    "hostPath": check_host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _disk("pdName"),
    "awsElasticBlockStore": _disk("volumeID"),
    "nfs": _nfs,
    "iscsi": _iscsi,
    "glusterfs": _glusterfs,
    "flocker": _flocker,
    "rbd": needs("monitors", "image"),
    "cinder": _cinder,
    "cephfs": needs("monitors"),
    "quobyte": _quobyte,
    "fc": _fc,
    "flexVolume": _flex_volume,
    "azureFile": _azure_file,
    "vsphereVolume": needs("volumePath"),
    "photonPersistentDisk": needs("pdID"),
    "portworxVolume": needs("volumeID"),
    "azureDisk": _azure_disk,
    "scaleIO": needs("gateway", "system", "volumeName"),
    "local": _local,
    "storageos": _storageos,
    "csi": _csi,
}


def more_than_one(name: str, path: str) -> Errors:
    """That a source is one too many; of two upstream spells the path in its own way."""
    shown = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}.get(name, name)
    yield forbidden(f"{path}.{shown}", MORE_THAN_ONE)
