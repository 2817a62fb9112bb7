"""ServiceAccount: every pod runs as a service account that exists and, unless it declines, finds its token mounted.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
"""

from __future__ import annotations

import random

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_ACCOUNTS = "/registry/core/serviceaccounts/"
_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_MIRROR = "kubernetes.io/config.mirror"
# Refreshed by the kubelet long before; upstream's figure, an hour and a little.
_TOKEN_SECONDS = 3607
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class ServiceAccount(Plugin):
    operations = ("CREATE",)
    resources = (("", "pods"),)

    def __init__(self, cache: Cache) -> None:
        self._accounts = cache.of(_ACCOUNTS)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for("", "pods") or attributes.obj is None:
            return
        pod = attributes.obj
        spec = pod["spec"]
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        name = spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        entry = self._accounts.items.get(f"{_ACCOUNTS}{attributes.namespace}/{name}")
        if entry is None:
            why = f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.denied("", "pods", attributes.name, why)
        account = entry.decode()
        if _wants_token(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]


def _wants_token(spec: Json, account: Json) -> bool:
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.get("automountServiceAccountToken")
    return wanted is not False


def _mount_token(spec: Json) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    without = [c for c in containers if not any(m.get("mountPath") == _MOUNT_PATH for m in c.get("volumeMounts") or ())]
    if not without:
        return
    volumes = spec.setdefault("volumes", [])
    volume = next((v["name"] for v in volumes if v.get("name", "").startswith("kube-api-access-")), "")
    if not volume:
        volume = "kube-api-access-" + "".join(random.choices(_ALPHABET, k=5))  # noqa: S311 - a name, no secret
        volumes.append(_volume(volume))
    for container in without:
        mount = {"name": volume, "readOnly": True, "mountPath": _MOUNT_PATH}
        container.setdefault("volumeMounts", []).append(mount)


def _volume(name: str) -> Json:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
