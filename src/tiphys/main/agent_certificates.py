"""What an agent runs so that certificates stay good: tasks by name, for its supervisor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tiphys.base.clock import Clock
from tiphys.client.client import Client
from tiphys.main.leaf import Key, Leaf
from tiphys.main.pki import Pki
from tiphys.main.renewal import Renewal

Tasks = dict[str, Callable[[], Awaitable[None]]]


def agent_tasks(pki: Pki, client_name: str, serving_name: str, client: Client, clock: Clock) -> Tasks:
    """Of an agent, whose two certificates have these names; `client` speaks as the node."""
    if pki.key("ca").exists():
        # A server on this machine renews them; they are only taken up here.
        return {"certificates": Renewal(pki, clock).run}

    async def request(leaf: Leaf, key: Key) -> bytes:
        # Needed once in eight months.
        from tiphys.main.certificate_request import signed

        return await signed(client, leaf, key)

    from tiphys.main.trusted_bundle import TrustedBundle

    names = (client_name, serving_name)
    renewal = Renewal(pki, clock, requested=names, request=request)
    return {"certificates": renewal.run, "trusted CAs": TrustedBundle(pki, client, clock).run}
