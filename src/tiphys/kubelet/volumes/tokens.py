"""Service account tokens bound to pods, by TokenRequest; renewed when four fifths of their life are over.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

from typing import Any

from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.client.client import Client
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.core.volume import ServiceAccountTokenProjection

_RENEW_AT = 0.8
_LONGEST = 24 * 3600.0


class ServiceAccountTokens:
    """Raises `api.errors.ApiError` and `Unreachable`."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client.of(SERVICE_ACCOUNTS), clock
        # (pod uid, audience, seconds) -> token, moment to renew it.
        self._held: dict[tuple[str, str, int], tuple[str, float]] = {}

    async def fetch(self, pod: Pod) -> float | None:
        """Get every token the pod's volumes show that is missing or due; when to come again, None for never."""
        due: list[float] = []
        for volume in pod.spec.volumes:
            for source in volume.projected.sources if volume.projected else ():
                if source.service_account_token is not None:
                    due.append(await self._ensure(pod, source.service_account_token))
        return min(due, default=None)

    def get(self, pod: Pod, projection: ServiceAccountTokenProjection) -> str:
        """A token that `fetch` got."""
        return self._held[self._key(pod, projection)][0]

    def release(self, uid: str) -> None:
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]

    @staticmethod
    def _key(pod: Pod, projection: ServiceAccountTokenProjection) -> tuple[str, str, int]:
        return pod.metadata.uid, projection.audience, projection.expiration_seconds

    async def _ensure(self, pod: Pod, projection: ServiceAccountTokenProjection) -> float:
        key = self._key(pod, projection)
        now = self._clock.time()
        held = self._held.get(key)
        if held is not None and held[1] > now:
            return held[1]
        meta = pod.metadata
        spec: dict[str, Any] = {
            "expirationSeconds": projection.expiration_seconds,
            "audiences": [projection.audience] if projection.audience else [],
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta.name, "uid": meta.uid},
        }
        request = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
            "metadata": {"name": pod.spec.service_account_name or "default", "namespace": meta.namespace},
        }  # fmt: skip
        status = (await self._client.create_json(request, subresource="token"))["status"]
        life = seconds(status["expirationTimestamp"]) - now
        renew = now + min(life * _RENEW_AT, _LONGEST)
        self._held[key] = (status["token"], renew)
        return renew
