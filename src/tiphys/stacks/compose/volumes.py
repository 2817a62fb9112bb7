"""Volumes and tmpfs of a service. A named volume is a PersistentVolumeClaim; it outlives the stack.

Source: https://docs.docker.com/reference/compose-file/volumes/
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tiphys.stacks import units
from tiphys.stacks.compose.load import Model
from tiphys.stacks.objects import digest, dns_name, without_empty

Json = dict[str, Any]
# What a claim asks for where the file says nothing: Docker's volumes have no size.
DEFAULT_SIZE = "1Gi"
# A global service has a volume on each node, as with Swarm.
PER_NODE = "/var/lib/stack-volumes"
_KNOWN = frozenset({"driver", "driver_opts", "external", "name", "labels"})
_PROPAGATION = {"rprivate": "None", "private": "None", "rslave": "HostToContainer", "rshared": "Bidirectional",
                "slave": "HostToContainer", "shared": "Bidirectional"}  # fmt: skip


class Volumes:
    """`claims` are the PersistentVolumeClaims of the named volumes that some service uses."""

    def __init__(self, model: Model, stack: str) -> None:
        self._model, self._stack = model, stack
        self._claims: dict[str, Json] = {}

    @property
    def claims(self) -> list[Json]:
        return list(self._claims.values())

    def mounts(self, path: str, service: Json) -> tuple[list[Json], list[Json]]:
        """The pod's volumes, and the container's mounts."""
        volumes: dict[str, Json] = {}
        mounts = []
        for at, one in enumerate(service.get("volumes") or ()):
            where = f"{path}.volumes[{at}]"
            given = _short(str(one)) if not isinstance(one, dict) else dict(one)
            source = self._source(where, given, service)
            target = str(given.get("target") or "")
            if not target.startswith("/"):
                self._model.problems.refuse(where, f"{target!r} is no place in a container", "a path from the root")
            if source is None:
                continue
            name = f"v-{digest(source)}" if "emptyDir" not in source else f"v-{digest(target)}"
            volumes[name] = {"name": name, **source}
            mounts.append(without_empty({
                "name": name, "mountPath": target, "readOnly": True if given.get("read_only") else None,
                "subPath": (given.get("volume") or {}).get("subpath"),
                "mountPropagation": _PROPAGATION.get(str((given.get("bind") or {}).get("propagation"))),
            }))  # fmt: skip
        for name, target, source in self._memory(path, service):
            volumes[name] = {"name": name, **source}
            mounts.append({"name": name, "mountPath": target})
        return list(volumes.values()), mounts

    def _memory(self, path: str, service: Json) -> Iterator[tuple[str, str, Json]]:
        value = service.get("tmpfs") or []
        for text in [value] if isinstance(value, str) else value:
            target, _, options = str(text).partition(":")
            size = next((o.removeprefix("size=") for o in options.split(",") if o.startswith("size=")), None)
            yield f"v-{digest(target)}", target, {"emptyDir": self._limit(f"{path}.tmpfs", size)}
        if service.get("shm_size"):
            yield "shm", "/dev/shm", {"emptyDir": self._limit(f"{path}.shm_size", service["shm_size"])}  # noqa: S108

    def _limit(self, path: str, size: Any) -> Json:
        found: Json = {"medium": "Memory"}
        if size:
            try:
                found["sizeLimit"] = str(units.size(size))
            except ValueError as error:
                self._model.problems.refuse(path, str(error))
        return found

    def _source(self, path: str, given: Json, service: Json) -> Json | None:
        kind, source = given.get("type") or "volume", str(given.get("source") or "")
        match kind:
            case "volume":
                return self._named(path, source, service) if source else {"emptyDir": {}}
            case "tmpfs":
                return {"emptyDir": self._limit(f"{path}.tmpfs.size", (given.get("tmpfs") or {}).get("size"))}
            case "bind":
                return self._bind(path, source, given)
        self._model.problems.refuse(f"{path}.type", f"{kind!r} is no kind of mount here", "volume, bind or tmpfs")
        return None

    def _bind(self, path: str, source: str, given: Json) -> Json:
        if not source.startswith("/"):
            source = os.path.normpath(os.path.join(self._model.directory, os.path.expanduser(source)))
            self._model.problems.warn(
                path, f"{source} must be on every node that may run the service; a config travels by itself"
            )
        create = (given.get("bind") or {}).get("create_host_path")
        return {"hostPath": without_empty({"path": source, "type": "DirectoryOrCreate" if create else None})}

    def _named(self, path: str, name: str, service: Json) -> Json | None:
        problems = self._model.problems
        definitions = self._model.content.get("volumes") or {}
        if name not in definitions:
            problems.refuse(path, f"volumes has no {name}", f"an entry `{name}:` under volumes")
            return None
        given = definitions[name] or {}
        for key in given:
            if key not in _KNOWN and not str(key).startswith("x-"):
                problems.refuse(f"volumes.{name}.{key}", "no such field of a volume")
        if given.get("external"):
            external = given["external"] if isinstance(given["external"], dict) else {}
            return {
                "persistentVolumeClaim": {"claimName": dns_name(str(external.get("name") or given.get("name") or name))}
            }
        options = given.get("driver_opts") or {}
        if given.get("driver") not in (None, "local", "default") and not given.get("x-storage-class"):
            use = "x-storage-class: NAME of a StorageClass, or external: true with a PersistentVolumeClaim"
            problems.refuse(f"volumes.{name}.driver", f"there is no volume driver {given['driver']}", use)
            return None
        if options.get("type") or options.get("o") == "bind":
            return self._by_options(f"volumes.{name}.driver_opts", options)
        return self._claim(path, name, given, service)

    def _by_options(self, path: str, options: Json) -> Json | None:
        kind, device, words = (
            str(options.get("type") or "none"),
            str(options.get("device") or ""),
            str(options.get("o") or ""),
        )
        settings = dict(word.partition("=")[::2] for word in words.split(",") if word)
        if kind.startswith("nfs"):
            if not settings.get("addr"):
                self._model.problems.refuse(f"{path}.o", "the server of an nfs volume is missing", "addr=SERVER")
            nfs = {
                "server": settings.get("addr", ""),
                "path": device.removeprefix(":"),
                "readOnly": True if "ro" in settings else None,
            }
            return {"nfs": without_empty(nfs)}
        if kind == "tmpfs":
            return {"emptyDir": self._limit(f"{path}.o", settings.get("size"))}
        if kind == "none" and "bind" in settings:
            return {"hostPath": {"path": os.path.join(self._model.directory, device)}}
        self._model.problems.refuse(
            f"{path}.type", f"{kind!r} cannot be mounted", "nfs, tmpfs, none with o=bind, or x-storage-class"
        )
        return None

    def _claim(self, path: str, name: str, given: Json, service: Json) -> Json:
        deploy = service.get("deploy") or {}
        problems = self._model.problems
        if str(deploy.get("mode", "")).startswith("global"):
            where = f"{PER_NODE}/{self._stack}/{name}"
            problems.warn(path, f"each node has a volume of its own, as with Swarm: {where}")
            return {"hostPath": {"path": where, "type": "DirectoryOrCreate"}}
        if int(deploy.get("replicas") or 1) > 1:
            text = "all replicas share one volume here, so local storage keeps them on one node; Swarm has one on each"
            problems.warn(path, text)
        claim = dns_name(str(given.get("name") or name))
        size = (given.get("driver_opts") or {}).get("size") or given.get("x-size")
        try:
            storage = str(units.size(size)) if size else DEFAULT_SIZE
        except ValueError as error:
            problems.refuse(f"volumes.{name}.driver_opts.size", str(error))
            storage = DEFAULT_SIZE
        self._claims[claim] = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
            "spec": without_empty({
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}},
                "storageClassName": given.get("x-storage-class"),
            }),
        }  # fmt: skip
        return {"persistentVolumeClaim": {"claimName": claim}}


def _short(text: str) -> Json:
    """`[SOURCE:]TARGET[:OPTIONS]`."""
    parts = text.split(":")
    if len(parts) == 1:
        return {"type": "volume", "target": parts[0]}
    options = set(parts[2].split(",")) if len(parts) > 2 else set()
    bind = parts[0].startswith(("/", ".", "~"))
    propagation = next((option for option in options if option in _PROPAGATION), None)
    return without_empty({
        "type": "bind" if bind else "volume", "source": parts[0], "target": parts[1],
        "read_only": True if "ro" in options else None,
        "bind": {"create_host_path": True, "propagation": propagation} if bind else None,
    })  # fmt: skip
