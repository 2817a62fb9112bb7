"""OCI images as data: names, layers, configs, manifests, and reading archives of both kinds. No I/O but files.

https://github.com/opencontainers/image-spec ; `docker save` archives are understood too.
"""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

import orjson

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEXES = {INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class ImageError(Exception):
    """An image, archive or build file is not what it should be; the message says which and why."""


def architecture() -> str:
    """This machine's architecture, by Go's name."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def normalize(name: str) -> str:
    """The full form of an image name: `busybox` is `docker.io/library/busybox:latest`."""
    head, at, digest = name.partition("@")
    first, slash, _ = head.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        head = f"docker.io/{head}" if slash else f"docker.io/library/{head}"
    if not at and ":" not in head.rpartition("/")[2]:
        head += ":latest"
    return head + at + digest


@dataclass(frozen=True, slots=True)
class Blob:
    """Content by digest. `open` gives a readable stream from the start, each time it is called."""

    digest: str
    size: int
    open: Callable[[], IO[bytes]]
    media_type: str = ""

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def read(self) -> bytes:
        with self.open() as stream:
            return stream.read()


def blob(data: bytes, media_type: str = "") -> Blob:
    return Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), lambda: io.BytesIO(data), media_type)


def layer(files: Mapping[str, bytes], links: Mapping[str, str] = {}, directories: Iterable[str] = ()) -> Blob:
    """An uncompressed layer of executables, symbolic links and directories, all of root's. Paths are relative."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return blob(buffer.getvalue(), LAYER)


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest with everything it refers to. `blobs` may leave out what the store has already."""

    manifest: Blob
    config: Blob
    layers: list[dict[str, Any]]
    blobs: list[Blob] = field(default_factory=list)


def assemble(config: Mapping[str, Any], layers: list[tuple[dict[str, Any], str]], blobs: list[Blob]) -> Image:
    """An image of `layers`, pairs of (descriptor, diff id), run with the OCI runtime `config` (Entrypoint, Env ...)."""
    body = {
        "architecture": architecture(), "os": "linux", "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
    }  # fmt: skip
    config_blob = blob(orjson.dumps(body), CONFIG)
    descriptors = [descriptor for descriptor, _ in layers]
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": config_blob.descriptor(), "layers": descriptors,
    }  # fmt: skip
    return Image(blob(orjson.dumps(manifest), MANIFEST), config_blob, descriptors, [*blobs, config_blob])


def simple(config: Mapping[str, Any], content: Blob) -> Image:
    """An image of one layer."""
    return assemble(config, [(content.descriptor(), content.digest)], [content])


def pick(index: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The manifest descriptor of this machine's platform in an index."""
    manifests: list[dict[str, Any]] = index.get("manifests", [])
    for entry in manifests:
        where = entry.get("platform")
        if where is None or (where.get("os"), where.get("architecture")) == ("linux", architecture()):
            return entry
    raise ImageError(f"{what}: no image for linux/{architecture()} in it")


def is_index(media_type: str) -> bool:
    return media_type in _INDEXES


class Archive:
    """An image archive on disk: an OCI layout in a tar, or what `docker save` writes. Yields (names, image)."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with tarfile.open(path) as tar:
                self._members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
        except (tarfile.TarError, OSError) as error:
            raise ImageError(f"{path}: cannot be read as an image archive: {error}") from error

    def images(self) -> list[tuple[list[str], Image]]:
        """Every image in it with the names it carries, normalised."""
        if "manifest.json" in self._members:
            return [self._docker(entry) for entry in self._json("manifest.json")]
        if "index.json" in self._members:
            entries = self._json("index.json").get("manifests", [])
            return [(_names(entry), self._oci(entry)) for entry in entries]
        raise ImageError(f"{self._path}: neither index.json nor manifest.json in it, so it is no image archive")

    def _read(self, name: str) -> bytes:
        return self._blob(name, "").read()

    def _json(self, name: str) -> Any:
        return orjson.loads(self._read(name))

    def _blob(self, name: str, digest: str, media_type: str = "") -> Blob:
        member = self._members.get(name)
        if member is None:
            raise ImageError(f"{self._path}: {name} is missing from the archive")
        return Blob(digest, member.size, lambda: self._open(member), media_type)

    def _open(self, member: tarfile.TarInfo) -> IO[bytes]:
        stream = open(self._path, "rb")  # noqa: SIM115 - the caller closes it
        if self._compressed():
            stream.close()
            raise ImageError(f"{self._path}: is compressed; unpack it first (gunzip, zstd -d)")
        stream.seek(member.offset_data)
        return cast(IO[bytes], _Window(stream, member.size))

    def _compressed(self) -> bool:
        with open(self._path, "rb") as stream:
            return stream.read(4)[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")

    def _oci(self, entry: Mapping[str, Any]) -> Image:
        path = _blob_path(entry["digest"])
        if is_index(entry.get("mediaType", "")):
            return self._oci(pick(self._json(path), self._path))
        manifest = self._json(path)
        parts = [manifest["config"], *manifest["layers"]]
        blobs = [self._blob(_blob_path(part["digest"]), part["digest"], part["mediaType"]) for part in parts]
        top = self._blob(path, entry["digest"], manifest.get("mediaType") or entry.get("mediaType") or MANIFEST)
        return Image(top, blobs[0], manifest["layers"], blobs)

    def _docker(self, entry: Mapping[str, Any]) -> tuple[list[str], Image]:
        config = blob(self._read(entry["Config"]), CONFIG)
        blobs = []
        for name in entry["Layers"]:
            part = self._blob(name, "")
            sum_, zipped = digest(part)
            blobs.append(Blob(sum_, part.size, part.open, LAYER + ("+gzip" if zipped else "")))
        layers = [part.descriptor() for part in blobs]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers}
        image = Image(blob(orjson.dumps(manifest), MANIFEST), config, layers, [*blobs, config])
        return [normalize(name) for name in entry.get("RepoTags") or []], image


class _Window(io.RawIOBase):
    """`size` bytes of a file from where it stands; closes the file with itself."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()
        super().close()


def digest(part: Blob) -> tuple[str, bool]:
    """The digest of a blob, and whether it is gzip."""
    found = hashlib.sha256()
    zipped = False
    with part.open() as stream:
        first = True
        while chunk := stream.read(1 << 20):
            zipped = zipped or (first and chunk[:2] == b"\x1f\x8b")
            first = False
            found.update(chunk)
    return f"sha256:{found.hexdigest()}", zipped


def _blob_path(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _names(entry: Mapping[str, Any]) -> list[str]:
    notes = entry.get("annotations") or {}
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
    # A bare tag names no image: `skopeo copy` and `buildah push` write that when they are told no name.
    return [normalize(name)] if name and ("/" in name or ":" in name) else []
