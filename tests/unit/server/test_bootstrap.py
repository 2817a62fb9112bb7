"""Several servers that begin at the same time, and what is made at the first beginning only."""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
import pytest

from tests.unit.server.conftest import ADMIN, NETWORK, Api
from tiphys.api import errors
from tiphys.client.inprocess import InProcess
from tiphys.server.bootstrap import bootstrap

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"


class Busy:
    """Has everything but the `kubernetes` Service, whose address is taken for a Service that comes `later`, if ever."""

    def __init__(self, later: int | None) -> None:
        self._later, self.attempts = later, 0

    async def send(self, method: str, path: str, **_: Any) -> bytes:
        if path == "/api/v1/namespaces/default/services":
            self.attempts += 1
            raise errors.Invalid("provided IP is already allocated")
        if path.endswith("/services/kubernetes") and (self._later is None or self.attempts < self._later):
            raise errors.NotFound("not yet")
        return orjson.dumps({"items": []})


async def test_a_service_that_another_server_is_just_making_is_waited_for() -> None:
    busy = Busy(later=2)
    await bootstrap(busy, ipaddress.IPv4Network("10.0.0.0/24"))  # type: ignore[arg-type]
    assert busy.attempts == 2


async def test_an_address_that_somebody_else_keeps_is_told() -> None:
    with pytest.raises(errors.Invalid):
        await bootstrap(Busy(later=None), ipaddress.IPv4Network("10.0.0.0/24"))  # type: ignore[arg-type]


async def test_the_class_of_local_volumes_does_not_come_back(api: Api) -> None:
    made = await api.ok("GET", f"{CLASSES}/local")
    assert made["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    await api.ok("DELETE", f"{CLASSES}/local")
    await bootstrap(InProcess(api.assembled.server.handle, ADMIN, "test"), NETWORK)
    assert (await api.ok("GET", CLASSES))["items"] == []
