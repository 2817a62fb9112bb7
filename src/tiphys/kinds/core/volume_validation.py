"""Validation of a pod's volumes. Source: upstream's `ValidateVolumes` in `pkg/apis/core/validation/validation.go`."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, label_selector
from tiphys.kinds.core.claim_validation import check_claim_template
from tiphys.kinds.core.env_validation import (
    FILE_FIELDS,
    check_field_selector,
    check_local_path,
    check_resource_selector,
)
from tiphys.kinds.core.signer_names import bundle_name_problems, check_signer_name
from tiphys.kinds.core.volume_sources import SOURCES, more_than_one, portal_problem

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_CONFLICT = "conflicting duplicate paths"
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MIN_TOKEN, _MAX_TOKEN = 600, 2**32
_KEY_TYPES = ("ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096")
# In the order in which upstream looks for them: what comes second is what is one too many.
_ORDER = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
_RANK = {name: rank for rank, name in enumerate(_ORDER)}


def check_volumes(volumes: list[Json], path: str, owner: str | None, legal: dict[str, Json]) -> Errors:
    """Fills `legal` with the volumes that containers may mount; `owner` is the name of the pod, None in a template."""
    made = {f"{owner}-{volume.get('name') or ''}" for volume in volumes if volume.get("ephemeral")} if owner else ()
    for index, volume in enumerate(volumes):
        where, name = f"{path}[{index}]", volume.get("name") or ""
        found = list(_check_volume(volume, where, owner))
        if name in legal:
            found.append(duplicate(f"{where}.name", name))
        if not found:
            legal[name] = volume
        yield from found
        claim = volume.get("persistentVolumeClaim")
        if made and claim is not None and claim.get("claimName") in made:
            rule = "must not reference a PVC that gets created for an ephemeral volume"
            yield invalid(f"{where}.persistentVolumeClaim.claimName", claim["claimName"], rule)


def _check_volume(volume: Json, path: str, owner: str | None) -> Errors:
    name = volume.get("name") or ""
    sources = [source for source, value in volume.items() if source != "name" and value is not None]
    if not sources:
        yield required(path, "must specify a volume type")
    elif len(sources) > 1:
        sources.sort(key=lambda source: _RANK.get(source, len(_RANK)))
    for source in sources[:1]:
        yield from _check_source(source, volume[source], f"{path}.{source}", is_pod=owner is not None)
    for extra in sources[1:]:
        yield from more_than_one(extra, path)
    if volume.get("iscsi") is not None:
        problem = portal_problem(name, volume["iscsi"])
        if problem:
            yield invalid(f"{path}.name", name, problem)
    if owner and name and sources[:1] == ["ephemeral"]:
        claim = f"{owner}-{name}"
        for problem in names.dns1123_subdomain(claim):
            yield invalid(f"{path}.name", name, f'PVC name "{claim}": {problem}')
    if not name:
        yield required(f"{path}.name")
    else:
        for problem in names.dns1123_label(name):
            yield invalid(f"{path}.name", name, problem)


def _check_source(name: str, source: Json, path: str, *, is_pod: bool) -> Errors:
    if name == "emptyDir":
        if source.get("sizeLimit") is not None and quantity.parse(source["sizeLimit"]).nanos < 0:
            yield forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
    elif name == "projected":
        yield from _check_mode(source, path, "defaultMode")
        yield from _check_projections(source.get("sources") or (), path)
    elif name in ("secret", "configMap"):
        key = "secretName" if name == "secret" else "name"
        if not source.get(key):
            yield required(f"{path}.{key}")
        yield from _check_mode(source, path, "defaultMode")
        yield from check_key_paths(source.get("items") or (), f"{path}.items")
    elif name == "downwardAPI":
        yield from _check_mode(source, path, "defaultMode")
        for item in source.get("items") or ():
            # Upstream names the volume, not the file.
            yield from _check_file(item, path)
    elif name == "persistentVolumeClaim":
        if not source.get("claimName"):
            yield required(f"{path}.claimName")
    elif name == "ephemeral":
        if source.get("volumeClaimTemplate") is None:
            yield required(f"{path}.volumeClaimTemplate")
        else:
            yield from check_claim_template(source["volumeClaimTemplate"], f"{path}.volumeClaimTemplate")
    elif name == "image":
        yield from _check_image(source, path, is_pod=is_pod)
    else:
        yield from SOURCES[name](source, path, False)


def _check_image(source: Json, path: str, *, is_pod: bool) -> Errors:
    if is_pod and not source.get("reference"):
        yield required(f"{path}.reference")
    policy = source.get("pullPolicy")
    if not policy:
        yield required(f"{path}.pullPolicy")
    elif policy not in _PULL_POLICIES:
        yield not_supported(f"{path}.pullPolicy", policy, _PULL_POLICIES)


def _check_mode(source: Json, path: str, field: str) -> Errors:
    mode = source.get(field)
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(f"{path}.{field}", mode, _MODE)


def check_key_paths(items: Iterable[Json], path: str) -> Errors:
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        for field in ("key", "path"):
            if not item.get(field):
                yield required(f"{where}.{field}")
        yield from check_local_path(item.get("path") or "", f"{where}.path")
        yield from _check_mode(item, where, "mode")


def _check_file(item: Json, path: str) -> Errors:
    """A file of the downward API."""
    if not item.get("path"):
        yield required(f"{path}.path")
    yield from check_local_path(item.get("path") or "", f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        yield from check_field_selector(field, f"{path}.fieldRef", FILE_FIELDS)
        if resource is not None:
            rule = "fieldRef and resourceFieldRef can not be specified simultaneously"
            yield invalid(path, "resource", rule)
    elif resource is not None:
        yield from check_resource_selector(resource, f"{path}.resourceFieldRef", volume=True)
    else:
        yield required(path, "one of fieldRef and resourceFieldRef is required")
    yield from _check_mode(item, path, "mode")


def _check_projections(sources: Iterable[Json], path: str) -> Errors:
    taken: set[str] = set()
    for index, projection in enumerate(sources):
        where = f"{path}.sources[{index}]"
        for name, source in projection.items():
            if source is not None:
                yield from _check_projection(name, source, path, where)
                yield from _check_taken(name, source, path, taken)
        if len(projection) > 1 and sum(value is not None for value in projection.values()) > 1:
            yield forbidden(where, "may not specify more than 1 volume type per source")


def _check_projection(name: str, source: Json, volume: str, path: str) -> Errors:
    where = f"{path}.{name}"
    if name in ("secret", "configMap"):
        if not source.get("name"):
            yield required(f"{where}.name")
        yield from check_key_paths(source.get("items") or (), f"{where}.items")
    elif name == "downwardAPI":
        for item in source.get("items") or ():
            yield from _check_file(item, where)
    elif name == "serviceAccountToken":
        seconds = source.get("expirationSeconds", 3600)
        if seconds < _MIN_TOKEN:
            yield invalid(f"{where}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        elif seconds > _MAX_TOKEN:
            rule = "may not specify a duration larger than 2^32 seconds"
            yield invalid(f"{where}.expirationSeconds", seconds, rule)
        # Upstream names the volume, not the projection.
        if not source.get("path"):
            yield required(f"{volume}.path")
        else:
            yield from check_local_path(source["path"], f"{volume}.path")
    elif name == "clusterTrustBundle":
        yield from _check_bundle(source, where)
    elif name == "podCertificate":
        yield from _check_certificate(source, where)


def _check_bundle(source: Json, path: str) -> Errors:
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        yield invalid(path, source, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield required(f"{path}.name", "must be a valid object name")
        for problem in bundle_name_problems(name):
            yield invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {problem}")
        if source.get("labelSelector") is not None:
            rule = "labelSelector must be unset if name is specified"
            yield invalid(f"{path}.labelSelector", source["labelSelector"], rule)
    elif signer is not None:
        if not signer:
            yield required(f"{path}.signerName", "must be a valid signer name")
        yield from check_signer_name(signer, f"{path}.signerName")
        yield from label_selector(source.get("labelSelector"), f"{path}.labelSelector")
    else:
        yield required(path, "either name or signerName must be specified")
    if not source.get("path"):
        yield required(f"{path}.path")
    yield from check_local_path(source.get("path") or "", f"{path}.path")


def _check_certificate(source: Json, path: str) -> Errors:
    yield from check_signer_name(source.get("signerName") or "", f"{path}.signerName")
    if source.get("keyType") not in _KEY_TYPES:
        yield not_supported(f"{path}.keyType", source.get("keyType") or "", _KEY_TYPES)
    for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if source.get(field):
            yield from check_local_path(source[field], f"{path}.{field}")


def _paths(name: str, source: Json) -> list[tuple[str, str]]:
    """The paths that a projection takes, each with what upstream shows when it is taken already."""
    if name in ("secret", "configMap"):
        return [(item.get("path") or "", source.get("name") or "") for item in source.get("items") or ()]
    if name == "downwardAPI":
        return [(item.get("path") or "", item.get("path") or "") for item in source.get("items") or ()]
    if name == "clusterTrustBundle":
        return [(source.get("path") or "", source.get("path") or "")]
    if name == "podCertificate":
        fields = ("credentialBundlePath", "keyPath", "certificateChainPath")
        return [(source[field], source[field]) for field in fields if source.get(field)]
    return []


def _check_taken(name: str, source: Json, path: str, taken: set[str]) -> Iterable[FieldError]:
    for place, shown in _paths(name, source):
        if place and place in taken:
            yield invalid(path, shown, _CONFLICT)
        taken.add(place)
