"""Validation of the annotations that mean something to a pod: deletion cost, mirror pods, old security profiles.

Source: upstream's `ValidatePodSpecificAnnotations` and what `ValidatePodCreate` compares them with.
"""

from __future__ import annotations

import re

from tiphys.api.errors import FieldError, forbidden, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.env_validation import check_descending_path
from tiphys.kinds.core.os_validation import every_container

MIRROR = "kubernetes.io/config.mirror"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_COST = "controller.kubernetes.io/pod-deletion-cost"
_COST_FORM = re.compile("0|-?[1-9][0-9]*")
_LOCAL = "localhost/"
_DEFAULTS = ("runtime/default", "docker/default")


def check_annotations(annotations: Json, spec: Json, path: str) -> Errors:
    """`path`: of the annotations, such as "metadata.annotations"."""
    if MIRROR in annotations and not spec.get("nodeName"):
        rule = "must set spec.nodeName if mirror pod annotation is set"
        yield invalid(f"{path}[{MIRROR}]", annotations[MIRROR], rule)
    cost = annotations.get(_COST)
    if cost is not None and (_COST_FORM.fullmatch(cost) is None or not -(2**31) <= int(cost) < 2**31):
        yield invalid(f"{path}[{_COST}]", cost, "must be a 32bit integer")
    for key, value in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            yield from _check_seccomp(value, f"{path}.{key}")
    for key, value in annotations.items():
        if key.startswith(APP_ARMOR):
            yield from _check_app_armor(key, value, spec, path)


def _check_seccomp(profile: str, path: str) -> Errors:
    if profile.startswith(_LOCAL):
        yield from check_descending_path(profile.removeprefix(_LOCAL), path)
    elif profile not in (*_DEFAULTS, "unconfined"):
        yield invalid(path, profile, "must be a valid seccomp profile")


def _check_app_armor(key: str, profile: str, spec: Json, path: str) -> Errors:
    name = key.removeprefix(APP_ARMOR)
    if all(container.get("name") != name for container, _ in every_container(spec, "")):
        yield invalid(f"{path}[{key}]", name, "container not found")
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(_LOCAL):
        yield invalid(f"{path}[{key}]", profile, f'invalid AppArmor profile name: "{profile}"')


def check_profiles_match(annotations: Json, spec: Json, path: str) -> Errors:
    """That old annotations and new fields, where a pod has both, say the same; `path`: of the spec."""
    if not any(".security." in key for key in annotations):
        return
    context = spec.get("securityContext") or {}
    profile, annotation = context.get("seccompProfile"), annotations.get(SECCOMP_POD)
    if profile is not None and annotation is not None:
        where = f"{path}.securityContext.seccompProfile"
        yield from _mismatch(profile, annotation, where, "seccomp", _DEFAULTS)
    for container, where in every_container(spec, path):
        profile = (container.get("securityContext") or {}).get("seccompProfile")
        annotation = annotations.get(SECCOMP_CONTAINER + (container.get("name") or ""))
        if profile is not None and annotation is not None:
            place = f"{where}.securityContext.seccompProfile"
            yield from _mismatch(profile, annotation, place, "seccomp", _DEFAULTS)
    if (spec.get("os") or {}).get("name") == "windows":
        return
    for container, where in every_container(spec, path):
        profile = (container.get("securityContext") or {}).get("appArmorProfile") or context.get("appArmorProfile")
        annotation = annotations.get(APP_ARMOR + (container.get("name") or ""))
        if profile is not None and annotation is not None:
            place = f"{where}.securityContext.appArmorProfile"
            yield from _mismatch(profile, annotation, place, "apparmor", _DEFAULTS[:1])


def _mismatch(profile: Json, annotation: str, path: str, called: str, defaults: tuple[str, ...]) -> list[FieldError]:
    kind = profile.get("type")
    if kind == "Localhost" and annotation.startswith(_LOCAL):
        same = annotation.removeprefix(_LOCAL) == profile.get("localhostProfile")
        where, what = "localhostProfile", "profile"
    else:
        allowed = {"Unconfined": ("unconfined",), "RuntimeDefault": defaults, "Localhost": ()}.get(kind or "")
        same, where, what = allowed is None or annotation in allowed, "type", "type"
    return [] if same else [forbidden(f"{path}.{where}", f"{called} {what} in annotation and field must match")]


def check_annotation_changes(new: Json, old: Json, path: str) -> Errors:
    """What may be neither added, changed nor removed once a pod is there."""
    if new == old:
        return
    for key in old:
        if new.get(key) != old[key]:
            if key.startswith(APP_ARMOR):
                yield forbidden(f"{path}[{key}]", "may not remove or update AppArmor annotations")
            if key == MIRROR:
                yield forbidden(f"{path}[{key}]", "may not remove or update mirror pod annotation")
    for key in new:
        if key not in old:
            if key.startswith(APP_ARMOR):
                yield forbidden(f"{path}[{key}]", "may not add AppArmor annotations")
            if key == MIRROR:
                yield forbidden(f"{path}[{key}]", "may not add mirror pod annotation")
