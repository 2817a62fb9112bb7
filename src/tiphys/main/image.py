"""`tiphys image`: import archives, build small images from what the machine has, list them; no registry needed."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Sequence

import orjson

from tiphys.base.backoff import Backoff
from tiphys.base.grpc import RpcError, RpcUnavailable
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.node import containerd_of
from tiphys.main.node_settings import NodeSettings, nodes_of
from tiphys.node.images import Images
from tiphys.node.oci import ImageError

_RETRY = Backoff(0.05, 1.0)


def image(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        cluster = Cluster(options.cluster)
        cluster.settings()
        return asyncio.run(_run(cluster, options))
    except (ClusterError, ImageError, RpcError, OSError) as error:
        print(f"tiphys image {options.verb}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tiphys image", description="Images of a cluster's nodes.")
    parser.add_argument("--cluster", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    take = verbs.add_parser("import", help="import an OCI or docker archive")
    take.add_argument("archive")
    build = verbs.add_parser("build", help="build from a Dockerfile without RUN: FROM, COPY, ENV, CMD, ...")
    build.add_argument("context", help="the directory that COPY copies from")
    build.add_argument("-t", "--tag", required=True, help="name of the image")
    build.add_argument("-f", "--file", default="Dockerfile", help="path of the Dockerfile within the context")
    listing = verbs.add_parser("list", help="list the images")
    listing.add_argument("-o", "--output", choices=("json",), help="for scripts")
    for verb in (take, build, listing):
        # Where people write it, too; there it must not take back what came before the verb.
        verb.add_argument("--cluster", default=argparse.SUPPRESS, help="the cluster's name")
    return parser


async def _run(cluster: Cluster, options: argparse.Namespace) -> int:
    every = [Images(containerd_of(node).endpoint) for node in nodes_of(cluster, cluster.settings())]
    try:
        if options.verb == "list":
            await _list(every, options.output)
            return 0
        for number, images in enumerate(every):
            names = await _add(images, options)
            if number == 0:
                print("\n".join(names))
    finally:
        for images in every:
            images.close()
    return 0


async def share(nodes: Sequence[NodeSettings]) -> None:
    """Give the images that only this machine has to those of its nodes that lack them. Raises ImageError, RpcError."""
    every = [Images(containerd_of(node).endpoint) for node in nodes]
    try:
        for images in every[1:]:
            await _answers(images)
            await images.copy_from(every[0])
    finally:
        for images in every:
            images.close()


async def _answers(images: Images) -> None:
    """Return once the runtime of a node that comes up answers."""
    for attempt in itertools.count():
        try:
            await images.list()
            return
        except RpcUnavailable:
            await asyncio.sleep(_RETRY.delay(attempt))


async def _add(images: Images, options: argparse.Namespace) -> list[str]:
    if options.verb == "import":
        return await images.import_archive(options.archive)
    return [await images.build(options.context, options.tag, options.file)]


async def _list(every: Sequence[Images], output: str | None) -> None:
    """What any of the nodes has, once."""
    by_id = {info.id: info for images in every for info in await images.list()}
    found = sorted(by_id.values(), key=lambda info: info.names)
    if output == "json":
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    print(f"{'IMAGE':<48} {'ID':<14} SIZE")
    for info in found:
        print(
            f"{(info.names or ['<none>'])[0]:<48} {info.id.removeprefix('sha256:')[:12]:<14} {info.size / 1e6:.1f} MB"
        )
