"""Service account tokens bound to pods, by TokenRequest; renewed when four fifths of their life are over.

With a checkpoint they outlive the agent; one that is due but valid does while no server answers.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tiphys.api.errors import ApiError
from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.core.volume import ServiceAccountTokenProjection

_RENEW_AT = 0.8
_LONGEST = 24 * 3600.0
# How long a token that is due is used on before a server is asked again, and how long a server may take.
_LATER, _WITHIN = 60.0, 10.0
_PART = "tokens"
_log = Log("kubelet.tokens")


class _Token(msgspec.Struct, frozen=True, array_like=True):
    """`renew` and `ends` in unix seconds."""

    uid: str
    audience: str
    seconds: int
    token: str
    renew: float
    ends: float


class ServiceAccountTokens:
    """Raises `api.errors.ApiError` and `Unreachable`."""

    def __init__(self, client: Client, clock: Clock, checkpoint: Checkpoint | None = None) -> None:
        self._client, self._clock, self._checkpoint = client.of(SERVICE_ACCOUNTS), clock, checkpoint
        # By pod uid, audience and seconds.
        self._held: dict[tuple[str, str, int], _Token] = {}

    async def restore(self) -> None:
        """Know the tokens that the agent before this one got."""
        data = await self._checkpoint.load(_PART) if self._checkpoint is not None else b""
        try:
            tokens = msgspec.json.decode(data, type=list[_Token]) if data else []
        except msgspec.DecodeError as error:
            _log.warning("the tokens of the last agent cannot be read", error=str(error))
            return
        now = self._clock.time()
        self._held = {(item.uid, item.audience, item.seconds): item for item in tokens if item.ends > now}

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
        return self._held[self._key(pod, projection)].token

    def release(self, uid: str) -> None:
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]
            self._keep()

    def _keep(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.changed(_PART, lambda: msgspec.json.encode(list(self._held.values())))

    @staticmethod
    def _key(pod: Pod, projection: ServiceAccountTokenProjection) -> tuple[str, str, int]:
        return pod.metadata.uid, projection.audience, projection.expiration_seconds

    async def _ensure(self, pod: Pod, projection: ServiceAccountTokenProjection) -> float:
        held, now = self._held.get(self._key(pod, projection)), self._clock.time()
        if held is None or held.ends <= now:
            return await self._renew(pod, projection)
        if held.renew > now:
            return held.renew
        try:
            async with asyncio.timeout(_WITHIN):
                return await self._renew(pod, projection)
        except (ApiError, Unreachable, TimeoutError) as error:
            why = str(error) or type(error).__name__
            _log.warning("cannot renew a token yet", pod=pod.metadata.key, error=why)
            return min(now + _LATER, held.ends)

    async def _renew(self, pod: Pod, projection: ServiceAccountTokenProjection) -> float:
        key = self._key(pod, projection)
        now = self._clock.time()
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
        ends = seconds(status["expirationTimestamp"])
        renew = now + min((ends - now) * _RENEW_AT, _LONGEST)
        self._held[key] = _Token(*key, status["token"], renew, ends)
        self._keep()
        return renew
