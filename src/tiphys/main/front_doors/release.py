"""What was deployed last and before that, kept as a Secret of the namespace: `rollback` applies the former again.

Both are lists of objects, gzipped JSON. The objects of one service are those with its label; the rest is shared.
"""

from __future__ import annotations

import base64
import gzip
from typing import Any

import orjson

from tiphys.cli.errors import ServerError
from tiphys.main.front_doors.live import PLURALS, Live
from tiphys.stacks.objects import SERVICE

Json = dict[str, Any]
_NAME = "tiphys-release"
# What outlives the objects that use it.
KEPT = ("PersistentVolumeClaim", "Pod")


def read(live: Live) -> tuple[list[Json], list[Json]]:
    """The current objects and the previous ones; empty lists before the first."""
    found = live.get("Secret", _NAME)
    data = (found or {}).get("data") or {}
    return _unpacked(data.get("current")), _unpacked(data.get("previous"))


def write(live: Live, current: list[Json], previous: list[Json]) -> None:
    data = {"current": _packed(current), "previous": _packed(previous)}
    live.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _NAME}, "type": "tiphys.io/release", "data": data}
    )


def _packed(objects: list[Json]) -> str:
    return base64.b64encode(gzip.compress(orjson.dumps(objects), mtime=0)).decode()


def _unpacked(text: str | None) -> list[Json]:
    found: list[Json] = orjson.loads(gzip.decompress(base64.b64decode(text))) if text else []
    return found


def key(obj: Json) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def service_of(obj: Json) -> str:
    name: str = (obj["metadata"].get("labels") or {}).get(SERVICE, "")
    return name


def mixed(current: list[Json], previous: list[Json], services: set[str]) -> list[Json]:
    """`current`, but `services` as in `previous`, with what either shares."""
    kept = [obj for obj in current if service_of(obj) not in services]
    back = [obj for obj in previous if service_of(obj) in services or not service_of(obj)]
    return list({**{key(obj): obj for obj in back}, **{key(obj): obj for obj in kept}}.values())


def apply(live: Live, objects: list[Json]) -> None:
    order = list(PLURALS)
    for obj in sorted(objects, key=lambda obj: order.index(obj["kind"])):
        _apply(live, obj)


def _apply(live: Live, obj: Json) -> None:
    try:
        live.apply(obj)
    except ServerError as error:
        # A Service cannot lose or get its address; one that is made anew can.
        if obj["kind"] != "Service" or error.code != 422:
            raise
        live.delete(*key(obj))
        live.apply(obj)


def prune(live: Live, selector: str, wanted: list[Json], spared: list[Json]) -> list[str]:
    """Delete what the selector finds and nobody wants; configs and secrets of `spared` stay for a rollback."""
    known = {key(obj) for obj in wanted} | {key(obj) for obj in spared if obj["kind"] in ("ConfigMap", "Secret")}
    gone = []
    for kind in reversed(PLURALS):
        if kind in KEPT:
            continue
        for obj in live.list(kind, selector):
            if key(obj) not in known and not obj["metadata"].get("deletionTimestamp"):
                live.delete(*key(obj))
                gone.append(f"{kind.lower()}/{obj['metadata']['name']}")
    return gone
