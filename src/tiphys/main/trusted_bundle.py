"""The CAs that a node elsewhere trusts: those that `cluster-info` publishes, also while one replaces another."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode

from tiphys.api.meta import Key
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.main.cluster import write_private
from tiphys.main.follower import Follower
from tiphys.main.leaf import pins_of
from tiphys.main.pki import Pki

_log = Log("certificates")


def bundle_of(kubeconfig: str) -> bytes:
    """The CAs that a kubeconfig trusts, in PEM. Raises ValueError, KeyError, TypeError, IndexError for what is none."""
    cluster = json.loads(kubeconfig)["clusters"][0]["cluster"]
    return b64decode(cluster["certificate-authority-data"])


class TrustedBundle(Follower):
    """Run `run` under a supervisor; `client` speaks as the node. What changes in files, `Renewal` takes up."""

    def __init__(self, pki: Pki, client: Client, clock: Clock) -> None:
        super().__init__()
        self._pki, self._clock = pki, clock
        self._maps = Informer(
            client, CONFIG_MAPS, namespace="kube-public", clock=clock, fieldSelector="metadata.name=cluster-info"
        )

    async def run(self) -> None:
        await self.follow(self._maps, self._clock)

    async def take(self) -> None:
        found = self._maps.get(Key("kube-public/cluster-info"))
        if found is None:
            return
        try:
            bundle = bundle_of(found.data.get("kubeconfig", ""))
            pins = set(pins_of(bundle))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            _log.error("cluster-info cannot be read; the CAs trusted stay as they are", error=error)
            return
        before = await asyncio.to_thread(self._pki.ca.read_bytes)
        if bundle == before:
            return
        if not pins & set(pins_of(before)):
            # Whoever replaces a CA has both trusted for a while; this is something else.
            _log.error("cluster-info holds none of the CAs that are trusted here; they stay as they are")
            return
        await asyncio.to_thread(write_private, self._pki.ca, bundle)
        _log.info("CAs that are trusted have changed", pins=",".join(pin[:16] for pin in pins))
