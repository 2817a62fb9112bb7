"""The devices of pods' claims: drivers make them ready before a pod starts, and take them back after its end.

What was asked of drivers is written down before they are asked, so that the next kubelet knows whom to ask to take it
back. A claim that several pods of the node use is prepared once and taken back with the last of them.
Source: upstream's `pkg/kubelet/cm/dra/manager.go`
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from tiphys.api.errors import ApiError
from tiphys.base.grpc import RpcError
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.podspec import PodResourceClaim
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS, ResourceClaim
from tiphys.kubelet.plugins import Driver
from tiphys.kubelet.pod_devices import NotPrepared
from tiphys.node import plugins
from tiphys.node import plugins_pb2 as pb

_log = Log("claims")


class PreparedDevice(msgspec.Struct, frozen=True):
    """`requests` are those of the claim that it is for, none if it is for all; `cdi` the names that it has in CDI."""

    requests: list[str]
    cdi: list[str]


class Prepared(msgspec.Struct):
    """A claim on this node: `pods` are the UIDs of those that use it here; `ready` once all drivers have done it."""

    uid: str
    namespace: str
    name: str
    drivers: list[str]
    pods: list[str] = []
    devices: list[PreparedDevice] = []
    ready: bool = False


class ClaimedDevices:
    """`driver` finds a registered driver by its name; `file` keeps what is prepared."""

    def __init__(self, client: Client, driver: Callable[[str], Driver | None], file: Path) -> None:
        self._client, self._driver, self._file = client.of(RESOURCE_CLAIMS), driver, file
        self._prepared: dict[str, Prepared] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def restore(self) -> None:
        """Take over what the last kubelet wrote down."""

        def read() -> bytes:
            return self._file.read_bytes() if self._file.exists() else b"[]"

        try:
            known = msgspec.json.decode(await asyncio.to_thread(read), type=list[Prepared])
        except (OSError, msgspec.DecodeError) as error:
            _log.error("what was prepared for claims is not known", file=str(self._file), error=error)
            return
        self._prepared = {claim.uid: claim for claim in known}

    async def prepare(self, pod: Pod) -> None:
        if not pod.resource_claims:
            return
        try:
            await self._prepare(pod)
        except RpcError as error:
            raise NotPrepared(f"prepare dynamic resources: NodePrepareResources: {error.message}") from error
        except (ApiError, Unreachable, OSError) as error:
            raise NotPrepared(f"prepare dynamic resources: {error}") from error

    async def _prepare(self, pod: Pod) -> None:
        claims = [claim for use in pod.resource_claims if (claim := await self._fetch(pod, use)) is not None]
        drivers = {name: self._registered(name) for claim in claims for name in _drivers(claim)}
        async with self._locked([claim.metadata.uid for claim in claims]):
            todo = [claim for claim in claims if not self._note(claim, str(pod.metadata.uid)).ready]
            await self._save()
            for name, driver in drivers.items():
                await self._ask(driver, [claim for claim in todo if name in _drivers(claim)])
            for claim in todo:
                self._prepared[claim.metadata.uid].ready = True
            await self._save()

    async def _fetch(self, pod: Pod, use: PodResourceClaim) -> ResourceClaim | None:
        """One of the pod's claims as the API has it; None if the pod needs none."""
        name = pod.claim_name(use)
        if name is None:
            raise NotPrepared(f'prepare dynamic resources: pod "{pod.metadata.key}": ResourceClaim not created yet')
        if not name:
            return None
        try:
            claim: ResourceClaim = await self._client.get(name, pod.metadata.namespace)
        except ApiError as error:
            raise NotPrepared(f"prepare dynamic resources: fetch ResourceClaim {name}: {error.message}") from error
        if claim.status.allocation is None:
            raise NotPrepared(f"prepare dynamic resources: ResourceClaim {name}: claim {name} not allocated")
        if all(user.uid != pod.metadata.uid for user in claim.status.reserved_for):
            who = f"pod {pod.metadata.name} ({pod.metadata.uid})"
            what = f"is not allowed to use ResourceClaim {name} ({claim.metadata.uid})"
            raise NotPrepared(f"prepare dynamic resources: {who} {what}")
        return claim

    def _registered(self, name: str) -> Driver:
        driver = self._driver(name)
        if driver is None:
            raise NotPrepared(f"prepare dynamic resources: DRA driver {name} is not registered")
        return driver

    def _note(self, claim: ResourceClaim, pod: str) -> Prepared:
        meta = claim.metadata
        known = self._prepared.setdefault(
            meta.uid, Prepared(meta.uid, meta.namespace, meta.name, _drivers(claim))
        )  # fmt: skip
        if pod not in known.pods:
            known.pods.append(pod)
        return known

    async def _ask(self, driver: Driver, claims: Sequence[ResourceClaim]) -> None:
        """Have a driver prepare claims. Raises RpcError."""
        if not claims:
            return
        wanted = [_claim(self._prepared[claim.metadata.uid]) for claim in claims]
        answer = await plugins.prepare(driver.endpoint, driver.service, wanted)
        for each in wanted:
            if each.uid not in answer.claims:
                raise NotPrepared(f"prepare dynamic resources: NodePrepareResources skipped ResourceClaim {each.name}")
            found = answer.claims[each.uid]
            if found.error:
                what = f"NodePrepareResources failed for ResourceClaim {each.name}: {found.error}"
                raise NotPrepared(f"prepare dynamic resources: {what}")
            known = self._prepared[each.uid]
            for device in found.devices:
                made = PreparedDevice(list(device.request_names), list(device.cdi_device_ids))
                if made not in known.devices:
                    known.devices.append(made)

    async def of(self, pod: Pod, container: Container) -> Sequence[str]:
        wanted = {name for use in pod.resource_claims if (name := pod.claim_name(use))}
        if wanted - {claim.name for claim in self._used_by(str(pod.metadata.uid))}:
            # What was prepared by the last kubelet is not known any more; asking again does no harm.
            await self.prepare(pod)
        names: dict[str, None] = {}
        for claim in self._used_by(str(pod.metadata.uid)):
            for name, request in _asked(pod, container):
                if name == claim.name:
                    names |= dict.fromkeys(_names(claim, request))
        return list(names)

    def _used_by(self, pod: str) -> list[Prepared]:
        return [claim for claim in self._prepared.values() if pod in claim.pods]

    async def release(self, uid: str) -> None:
        for claim in self._used_by(uid):
            async with self._locked([claim.uid]):
                if claim.pods == [uid]:
                    await self._take_back(claim)
                    self._prepared.pop(claim.uid, None)
                elif uid in claim.pods:
                    claim.pods.remove(uid)
                await self._save()

    async def _take_back(self, claim: Prepared) -> None:
        for name in claim.drivers:
            driver = self._driver(name)
            if driver is None:
                raise NotPrepared(f"unprepare dynamic resources: DRA driver {name} is not registered")
            try:
                answer = await plugins.unprepare(driver.endpoint, driver.service, [_claim(claim)])
            except RpcError as error:
                raise NotPrepared(f"unprepare dynamic resources: NodeUnprepareResources: {error.message}") from error
            found = answer.claims[claim.uid].error if claim.uid in answer.claims else "skipped"
            if found:
                what = f"NodeUnprepareResources failed for ResourceClaim {claim.name}: {found}"
                raise NotPrepared(f"unprepare dynamic resources: {what}")

    async def orphans(self, keep: set[str]) -> None:
        for uid in {pod for claim in self._prepared.values() for pod in claim.pods} - keep:
            await self.release(uid)

    @asynccontextmanager
    async def _locked(self, claims: Sequence[str]) -> AsyncIterator[None]:
        """Of two pods that use a claim one after the other; in one order, so that none waits for each other."""
        async with AsyncExitStack() as stack:
            for uid in sorted(set(claims)):
                await stack.enter_async_context(self._locks.setdefault(uid, asyncio.Lock()))
            yield

    async def _save(self) -> None:
        data = msgspec.json.encode(list(self._prepared.values()))

        def write() -> None:
            fresh = self._file.with_suffix(".new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)

        await asyncio.to_thread(write)


def _asked(pod: Pod, container: Container) -> Iterator[tuple[str, str]]:
    """(claim, request, "" for all of them) of which the container is to have the devices."""
    for wish in container.resources.claims:
        for use in pod.spec.resource_claims:
            if use.name == wish.name:
                yield pod.claim_name(use) or "", wish.request
    extended = pod.status.extended_resource_claim_status
    for mapping in extended.request_mappings if extended is not None else ():
        if extended is not None and mapping.container_name == container.name:
            yield extended.resource_claim_name, mapping.request_name


def _drivers(claim: ResourceClaim) -> list[str]:
    allocation = claim.status.allocation
    return list(dict.fromkeys(each.driver for each in allocation.devices.results)) if allocation is not None else []


def _claim(claim: Prepared) -> pb.Claim:
    return pb.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)


def _names(claim: Prepared, request: str) -> list[str]:
    """The CDI names for a request, for all of them if it is empty; an alternative is one of its request."""
    return [
        name
        for device in claim.devices
        if not request or not device.requests or request in {each.partition("/")[0] for each in device.requests}
        for name in device.cdi
    ]
