"""Images of a containerd: import archives, build small ones, list; and the sandbox image, made in place.

All goes through containerd's API under a lease, so garbage collection never takes half an image.
"""

from __future__ import annotations

import asyncio
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.grpc import RpcNotFound
from tiphys.node import containerd_pb2, dockerfile, oci, pause
from tiphys.node import cri_pb2 as pb
from tiphys.node.containerd_api import ContainerdApi
from tiphys.node.cri import Cri

PAUSE_IMAGE = "tiphys.internal/pause:1"
# How often an image that was just imported is looked for in the CRI's own table, which follows in milliseconds.
_FOLLOW = Backoff(initial=0.002, maximum=0.1)
_FOLLOW_TRIES = 60
# Inside the class, `list` is a method.
_Names = list[str]
_Layers = list[tuple[dict[str, Any], str]]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as the runtime lists it. `size` in bytes; `id` is the config's digest."""

    id: str
    names: list[str]
    digests: list[str]
    size: int
    user: str = ""


class Images:
    """Raises `oci.ImageError` for bad input and `grpc.RpcError` for trouble with containerd."""

    def __init__(self, endpoint: str, clock: Clock | None = None) -> None:
        self._api = ContainerdApi(endpoint)
        self._cri = Cri(endpoint)
        self._clock = clock or SystemClock()

    def close(self) -> None:
        self._api.close()
        self._cri.close()

    async def list(self) -> list[ImageInfo]:
        answer = await self._cri.call(pb.ListImagesRequest())
        return [
            ImageInfo(image.id, list(image.repo_tags), list(image.repo_digests), image.size, image.username)
            for image in answer.images
        ]

    async def import_archive(self, path: str) -> _Names:
        """Import every image of an OCI or `docker save` archive; the names it made, in order."""
        found = await asyncio.to_thread(lambda: oci.Archive(path).images())
        names: _Names = []
        for tags, image in found:
            if not tags:
                raise oci.ImageError(f"{path}: an image in it has no name: give it one when exporting")
            for tag in tags:
                await self.store(tag, image)
                names.append(tag)
        return names

    async def ensure_pause(self) -> str:
        """Make the sandbox image unless it is there; its name, to be the runtime's `sandbox_image`."""
        name = oci.normalize(PAUSE_IMAGE)
        try:
            await self._api.image(name)
        except RpcNotFound:
            content = oci.layer({"pause": pause.program(oci.architecture())})
            await self.store(name, oci.simple({"Entrypoint": ["/pause"]}, content))
        return name

    async def store(self, name: str, image: oci.Image) -> None:
        """Write an image's blobs and point `name` to it; returns when the CRI knows it."""
        labels = {f"containerd.io/gc.ref.content.{n}": part["digest"] for n, part in enumerate(image.layers, 1)}
        labels["containerd.io/gc.ref.content.0"] = image.config.digest
        async with self._api.lease() as headers:
            for part in image.blobs:
                await self._api.write(part, {}, headers)
            await self._api.write(image.manifest, labels, headers)
            target = containerd_pb2.Descriptor(
                media_type=image.manifest.media_type, digest=image.manifest.digest, size=image.manifest.size
            )
            await self._api.tag(oci.normalize(name), target)
        await self._visible(oci.normalize(name), image.config.digest)

    async def copy_from(self, other: Images) -> _Names:
        """Take over the images that were imported or built there and are in no registry; the names that came."""
        here = {name for info in await self.list() for name in info.names}
        come = []
        for info in await other.list():
            for name in info.names if not info.digests else ():
                if name not in here:
                    await self.store(name, await other._whole(name))
                    come.append(name)
        return come

    async def _whole(self, name: str) -> oci.Image:
        """An image with all its blobs, in memory."""
        target = (await self._api.image(name)).target
        manifest = await self._api.read(target.digest)
        parts = orjson.loads(manifest)
        blobs = [oci.blob(await self._api.read(each["digest"])) for each in (*parts["layers"], parts["config"])]
        return oci.Image(oci.blob(manifest, target.media_type), blobs[-1], parts["layers"], blobs)

    async def _visible(self, name: str, image_id: str) -> None:
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=name))
        for attempt in range(_FOLLOW_TRIES):
            if (await self._cri.call(request)).image.id == image_id:
                return
            await self._clock.sleep(_FOLLOW.delay(attempt))
        raise oci.ImageError(f"{name}: was imported, but the container runtime does not list it: see containerd's log")

    async def build(self, context: str, name: str, file: str = "Dockerfile") -> str:
        """Build the `file` of directory `context` as image `name`; its full name."""
        root = Path(context)
        plan = dockerfile.parse(await asyncio.to_thread((root / file).read_text), file)
        config, layers = await self._base(plan.base)
        blobs = []
        with tempfile.TemporaryDirectory(prefix="tiphys-build-") as scratch:
            if plan.copies:
                made = await asyncio.to_thread(_pack, root, plan.copies, Path(scratch, "layer.tar"))
                blobs.append(made)
                layers = [*layers, (made.descriptor(), made.digest)]
            image = oci.assemble(_merged(config, plan), layers, blobs)
            await self.store(name, image)
        return oci.normalize(name)

    async def _base(self, base: str) -> tuple[dict[str, Any], _Layers]:
        """The runtime config and the layers, with their diff ids, that a build starts from."""
        if base == "scratch":
            return {}, []
        name = oci.normalize(base)
        try:
            record = await self._api.image(name)
        except RpcNotFound as error:
            raise oci.ImageError(f"FROM {base}: no such image here: import or pull it first") from error
        media_type, digest = record.target.media_type, record.target.digest
        if oci.is_index(media_type):
            digest = oci.pick(orjson.loads(await self._api.read(digest)), base)["digest"]
        manifest = orjson.loads(await self._api.read(digest))
        config = orjson.loads(await self._api.read(manifest["config"]["digest"]))
        return config.get("config") or {}, list(zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True))


def _merged(base: dict[str, Any], plan: dockerfile.Plan) -> dict[str, Any]:
    """The base's runtime config with the build file's on top; a new Entrypoint drops the base's Cmd."""
    config = dict(base)
    if "Entrypoint" in plan.config:
        config.pop("Cmd", None)
    for key, value in plan.config.items():
        config[key] = {**(base.get(key) or {}), **value} if isinstance(value, dict) else value
    env = dict(entry.split("=", 1) for entry in base.get("Env") or []) | plan.env
    config["Env"] = [f"{key}={value}" for key, value in env.items()]
    return config


def _pack(root: Path, copies: list[tuple[list[str], str]], into: Path) -> oci.Blob:
    """Write the layer of all COPY instructions to a file. Sources must lie inside `root`, links included."""
    inside = root.resolve()
    with tarfile.open(into, "w") as tar:
        for sources, destination in copies:
            several = len(sources) > 1 or destination.endswith("/")
            for source in sources:
                for path in _matches(inside, source):
                    _add(tar, path, destination, several)
    return _file_blob(into)


def _matches(root: Path, source: str) -> Iterator[Path]:
    found = sorted(root.glob(source.lstrip("/"))) if source.strip("./") else [root]
    if not found:
        raise oci.ImageError(f"COPY {source}: no such file in {root}")
    for path in found:
        if not path.resolve().is_relative_to(root):
            raise oci.ImageError(f"COPY {source}: {path} leads out of the build directory")
        yield path


def _add(tar: tarfile.TarFile, path: Path, destination: str, several: bool) -> None:
    def as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        return entry

    target = destination.strip("/")
    if path.is_dir():
        for child in sorted(path.iterdir()):
            tar.add(child, f"{target}/{child.name}".lstrip("/"), filter=as_root)
    else:
        tar.add(path, f"{target}/{path.name}".lstrip("/") if several else target, filter=as_root)


def _file_blob(path: Path) -> oci.Blob:
    size = os.stat(path).st_size
    whole = oci.Blob("", size, lambda: path.open("rb"), oci.LAYER)
    return oci.Blob(oci.digest(whole)[0], size, whole.open, oci.LAYER)
