"""The volumes of a pod, as `describe` shows them."""

from __future__ import annotations

from typing import Any

from tiphys.cli.describers.text import Text

Json = dict[str, Any]

# source -> (what it is, (title, field)...)
_SOURCES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "hostPath": ("HostPath (bare host directory volume)", (("Path", "path"), ("HostPathType", "type"))),
    "emptyDir": ("EmptyDir (a temporary directory that shares a pod's lifetime)",
                 (("Medium", "medium"), ("SizeLimit", "sizeLimit"))),
    "secret": ("Secret (a volume populated by a Secret)", (("SecretName", "secretName"), ("Optional", "optional"))),
    "configMap": ("ConfigMap (a volume populated by a ConfigMap)", (("Name", "name"), ("Optional", "optional"))),
    "nfs": ("NFS (an NFS mount that lasts the lifetime of a pod)",
            (("Server", "server"), ("Path", "path"), ("ReadOnly", "readOnly"))),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        (("ClaimName", "claimName"), ("ReadOnly", "readOnly"))),
    "csi": ("CSI (a Container Storage Interface (CSI) volume source)",
            (("Driver", "driver"), ("FSType", "fsType"), ("ReadOnly", "readOnly"))),
    "image": ("Image (a container image or OCI artifact)",
              (("Reference", "reference"), ("PullPolicy", "pullPolicy"))),
}  # fmt: skip
_BOOLEANS = ("optional", "readOnly")
_UNSET = {"sizeLimit": "<unset>", "medium": "", "type": "<none>"}


def describe_volumes(text: Text, volumes: list[Json], space: str) -> None:
    if not volumes:
        text.line(f"{space}Volumes:\t<none>")
        return
    text.line(f"{space}Volumes:")
    for volume in volumes:
        text.line(f"{' ' if space else ''}{volume['name']}:", 1)
        _one(text, volume)


def _one(text: Text, volume: Json) -> None:
    if "projected" in volume:
        text.field("Type", "Projected (a volume that contains injected data from multiple sources)", 2)
        for source in volume["projected"].get("sources") or ():
            _projected(text, source)
        return
    if "downwardAPI" in volume:
        text.line("Type:\tDownwardAPI (a volume populated by information about the pod)\n    Items:", 2)
        for item in volume["downwardAPI"].get("items") or ():
            path = item["fieldRef"]["fieldPath"] if "fieldRef" in item else item["resourceFieldRef"]["resource"]
            text.line(f"{path} -> {item['path']}", 3)
        return
    for key, (kind, fields) in _SOURCES.items():
        if key in volume:
            source = volume[key] or {}
            text.field("Type", kind, 2)
            for title, name in fields:
                value = source.get(name)
                if name in _BOOLEANS:
                    value = "true" if value else "false"
                text.field(title, _UNSET.get(name, "") if value is None else value, 2)
            return
    if "ephemeral" in volume:
        text.field("Type", "EphemeralVolume (an inline specification for a volume that gets created and deleted with "
                   "the pod)", 2)  # fmt: skip
        return
    text.line("<unknown>", 1)


def _projected(text: Text, source: Json) -> None:
    if "secret" in source:
        text.field("SecretName", source["secret"].get("name", ""), 2)
        text.field("Optional", "true" if source["secret"].get("optional") else "false", 2)
    elif "downwardAPI" in source:
        text.field("DownwardAPI", "true", 2)
    elif "configMap" in source:
        text.field("ConfigMapName", source["configMap"].get("name", ""), 2)
        text.field("Optional", "true" if source["configMap"].get("optional") else "false", 2)
    elif "serviceAccountToken" in source:
        text.field("TokenExpirationSeconds", source["serviceAccountToken"].get("expirationSeconds", 3600), 2)
