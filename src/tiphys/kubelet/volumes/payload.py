"""The files that configMap, secret, downwardAPI and projected volumes show. Pure.

https://kubernetes.io/docs/concepts/storage/projected-volumes/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.volume import DownwardApiFile, KeyToPath, ServiceAccountTokenProjection, Volume
from tiphys.kinds.core.volume_binding import names_of
from tiphys.kubelet.environment import Lookup
from tiphys.kubelet.fields import Facts, field_value, resource_value


@dataclass(frozen=True, slots=True)
class File:
    """`uid` is the owner where it is not root."""

    data: bytes
    mode: int
    uid: int = 0


Payload = dict[str, File]
# The token of a pod for a projection: (audience, seconds) -> token.
Tokens = Callable[[ServiceAccountTokenProjection], str]


class MissingObject(Exception):
    """A ConfigMap, Secret or key that a volume needs is not there; the message is upstream's."""


def is_payload(volume: Volume) -> bool:
    return any((volume.config_map, volume.secret, volume.downward_api, volume.projected))


def references(pod: Pod) -> set[tuple[str, str]]:
    """The ConfigMaps, Secrets and claims, as (kind, name), that the pod's volumes and environment name."""
    found: set[tuple[str, str]] = set()
    found |= {("persistentvolumeclaim", name) for name, _ in names_of(pod)}
    for volume in pod.spec.volumes:
        if volume.config_map is not None:
            found.add(("configmap", volume.config_map.name))
        if volume.secret is not None:
            found.add(("secret", volume.secret.secret_name))
        for source in volume.projected.sources if volume.projected else ():
            if source.config_map is not None:
                found.add(("configmap", source.config_map.name))
            if source.secret is not None:
                found.add(("secret", source.secret.name))
    for container in pod.spec.all_containers():
        for bulk in container.env_from:
            found |= {("configmap", bulk.config_map_ref.name)} if bulk.config_map_ref else set()
            found |= {("secret", bulk.secret_ref.name)} if bulk.secret_ref else set()
        for variable in container.env:
            if variable.value_from is not None and variable.value_from.config_map_key_ref is not None:
                found.add(("configmap", variable.value_from.config_map_key_ref.name))
            if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
                found.add(("secret", variable.value_from.secret_key_ref.name))
    return found | {("secret", secret.name) for secret in pod.spec.image_pull_secrets}


def build(pod: Pod, volume: Volume, lookup: Lookup, facts: Facts, tokens: Tokens) -> Payload:
    """The files of one volume. Raises MissingObject and fields.BadField."""
    if volume.config_map is not None:
        ref = volume.config_map
        return _keys("configmap", ref.name, ref.items, ref.default_mode, lookup, optional=ref.optional)
    if volume.secret is not None:
        held = volume.secret
        return _keys("secret", held.secret_name, held.items, held.default_mode, lookup, optional=held.optional)
    if volume.downward_api is not None:
        return _downward(pod, volume.downward_api.items, volume.downward_api.default_mode, facts)
    payload: Payload = {}
    if volume.projected is not None:
        mode = volume.projected.default_mode
        for source in volume.projected.sources:
            for kind, part in (("configmap", source.config_map), ("secret", source.secret)):
                if part is not None:
                    payload |= _keys(kind, part.name, part.items, mode, lookup, optional=part.optional)
            if source.downward_api is not None:
                payload |= _downward(pod, source.downward_api.items, mode, facts)
            if source.service_account_token is not None:
                payload[source.service_account_token.path] = _token(pod, source.service_account_token, mode, tokens)
    return payload


def _keys(
    kind: str, name: str, items: Iterable[KeyToPath], mode: int, lookup: Lookup, *, optional: bool
) -> Payload:
    data: Mapping[str, bytes] | None = lookup(kind, name)
    if data is None:
        if optional:
            return {}
        raise MissingObject(f'{kind} "{name}" not found')
    chosen = list(items)
    if not chosen:
        return {key: File(value, mode) for key, value in data.items()}
    payload: Payload = {}
    for item in chosen:
        if item.key in data:
            payload[item.path] = File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            shown = "config" if kind == "configmap" else "secret"
            raise MissingObject(f"references non-existent {shown} key: {item.key}")
    return payload


def _downward(pod: Pod, items: Iterable[DownwardApiFile], mode: int, facts: Facts) -> Payload:
    payload: Payload = {}
    for item in items:
        if item.field_ref is not None:
            text = field_value(pod, item.field_ref.field_path, facts)
        elif item.resource_field_ref is not None:
            text = resource_value(pod, item.resource_field_ref, None, facts)
        else:
            continue
        payload[item.path] = File(text.encode(), mode if item.mode is None else item.mode)
    return payload


def _token(pod: Pod, projection: ServiceAccountTokenProjection, mode: int, tokens: Tokens) -> File:
    """The token file: private to the user that all containers run as, where there is one."""
    users = {
        pod.spec.security_context.run_as_user if c.security_context.run_as_user is None
        else c.security_context.run_as_user
        for c in pod.spec.containers
    }  # fmt: skip
    user = users.pop() if len(users) == 1 else None
    if user is not None or pod.spec.security_context.fs_group is not None:
        mode = 0o600
    return File(tokens(projection).encode(), mode, user or 0)
