"""Images for containers: pull policies, credentials, back-off after failures.

https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping

import orjson

from tiphys.base.clock import Clock
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.environment import Lookup
from tiphys.kubelet.events import PodEvents
from tiphys.kubelet.runtime import Credentials, Image, Runtime, RuntimeFault
from tiphys.node.oci import normalize

_INITIAL, _MAXIMUM = 10.0, 300.0
_PARALLEL_PULLS = 3


class ImageFailure(Exception):
    """The image is not here; `reason` is the container's waiting reason, `retry_at` in unix seconds."""

    def __init__(self, reason: str, message: str, retry_at: float) -> None:
        super().__init__(message)
        self.reason, self.retry_at = reason, retry_at


class Images:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime, self._clock = runtime, clock
        # (pod uid, image) -> (delay, moment until which no pull is tried, last error).
        self._failed: dict[tuple[str, str], tuple[float, float, str]] = {}
        self._slots = asyncio.Semaphore(_PARALLEL_PULLS)

    async def ensure(self, pod: Pod, container: Container, lookup: Lookup, events: PodEvents) -> Image:
        """The image, pulled if its policy says so. Raises ImageFailure."""
        name = container.image
        policy = container.image_pull_policy or ("Always" if _moving(name) else "IfNotPresent")
        found = await self._present(pod, name)
        if found is not None and policy != "Always":
            events.container(container.name, "Pulled", f'Container image "{name}" already present on machine')
            return found
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            events.container(container.name, "ErrImageNeverPull", message, "Warning")
            raise ImageFailure("ErrImageNeverPull", message, self._clock.time() + _INITIAL)
        return await self._pull(pod, container, lookup, events)

    async def _present(self, pod: Pod, name: str) -> Image | None:
        try:
            return await self._runtime.image(name)
        except RuntimeFault as fault:
            if fault.retriable:
                return None
            message = f'Failed to apply default image tag "{name}": couldn\'t parse image name: {fault}'
            raise ImageFailure("InvalidImageName", message, self._clock.time() + _MAXIMUM) from fault

    async def _pull(self, pod: Pod, container: Container, lookup: Lookup, events: PodEvents) -> Image:
        name, key = container.image, (str(pod.metadata.uid), container.image)
        delay, until, last = self._failed.get(key, (0.0, 0.0, ""))
        now = self._clock.time()
        if now < until:
            events.container(container.name, "BackOff", f'Back-off pulling image "{name}"', "Normal")
            events.container(container.name, "Failed", "Error: ImagePullBackOff", "Warning")
            raise ImageFailure("ImagePullBackOff", f'Back-off pulling image "{name}": {last}', until)
        async with self._slots:
            events.container(container.name, "Pulling", f'Pulling image "{name}"')
            began = self._clock.monotonic()
            try:
                await self._fetch(pod, name, credentials(pod, name, lookup))
                image = await self._runtime.image(name)
            except RuntimeFault as fault:
                delay = min(_MAXIMUM, delay * 2 or _INITIAL)
                text = f"ErrImagePull: {fault}"
                self._failed[key] = (delay, self._clock.time() + delay, text)
                events.container(container.name, "Failed", f'Failed to pull image "{name}": {fault}', "Warning")
                events.container(container.name, "Failed", "Error: ErrImagePull", "Warning")
                # Looked at again at once, so that the state becomes ImagePullBackOff.
                raise ImageFailure("ErrImagePull", str(fault), self._clock.time() + 1.0) from fault
        self._failed.pop(key, None)
        took = self._clock.monotonic() - began
        size = f" Image size: {image.size} bytes." if image is not None else ""
        events.container(container.name, "Pulled", f'Successfully pulled image "{name}" in {took:.3f}s.{size}')
        return image or Image(name)

    async def _fetch(self, pod: Pod, name: str, tries: list[Credentials]) -> None:
        """Pull with the first credentials that are accepted, or with none."""
        failure: RuntimeFault | None = None
        for attempt in [*tries, None] if tries else [None]:
            try:
                await self._runtime.pull_image(name, attempt)
                return
            except RuntimeFault as fault:
                failure = fault
        if failure is not None:
            raise failure

    def waiting_for(self, name: str) -> set[str]:
        """The UIDs of pods that could not have the image which the runtime calls `name`."""
        return {uid for uid, image in self._failed if normalize(image) == normalize(name)}

    def release(self, uid: str) -> None:
        for key in [key for key in self._failed if key[0] == uid]:
            del self._failed[key]


def _moving(name: str) -> bool:
    """Whether a name may point to something newer tomorrow: tag latest, or none."""
    tail = name.rpartition("/")[2]
    return "@" not in tail and (":" not in tail or tail.endswith(":latest"))


def credentials(pod: Pod, image: str, lookup: Lookup) -> list[Credentials]:
    """What the pod's imagePullSecrets hold for the image's registry."""
    first = image.split("/")[0]
    registry = first if "/" in image and ("." in first or ":" in first or first == "localhost") else "docker.io"
    found = []
    for reference in pod.spec.image_pull_secrets:
        data = lookup("secret", reference.name) or {}
        for server, entry in _entries(data):
            host = server.removeprefix("https://").removeprefix("http://").rstrip("/")
            known = host.split("/")[0] == registry or (registry == "docker.io" and "docker.io" in host)
            if known or image.startswith(host + "/"):
                found.append(_credentials(server, entry))
    return found


def _entries(data: Mapping[str, bytes]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The servers of a Docker configuration, in either of its two forms."""
    try:
        if ".dockerconfigjson" in data:
            yield from orjson.loads(data[".dockerconfigjson"]).get("auths", {}).items()
        elif ".dockercfg" in data:
            yield from orjson.loads(data[".dockercfg"]).items()
    except orjson.JSONDecodeError:
        return


def _credentials(server: str, entry: Mapping[str, str]) -> Credentials:
    user, password = entry.get("username", ""), entry.get("password", "")
    if not user and entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return Credentials(user, password, server, identity_token=entry.get("identitytoken", ""))
