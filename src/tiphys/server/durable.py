"""What the store does with a write, in the words of the API."""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter

from tiphys import store
from tiphys.api import errors
from tiphys.api.registry import AnyResource
from tiphys.server.call import Call
from tiphys.server.request_metrics import stored
from tiphys.store import Revision


async def durable(write: Awaitable[Revision], operation: str, resource: AnyResource) -> Revision:
    """Await a write of the store; what it cannot do becomes an API error. Conflict is the caller's to understand."""
    began = perf_counter()
    try:
        revision = await write
        stored(operation, resource.group_resource, perf_counter() - began)
        return revision
    except store.Unavailable as error:
        raise errors.InternalError(f"the store did not confirm the write: {error.reason}") from error


def stale(call: Call) -> errors.Conflict:
    return errors.conflict(
        call.resource.group, call.resource.plural, call.target.name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )  # fmt: skip
