"""Configs and secrets: objects named by the hash of what is in them, so that a change rolls what uses them.

Source: https://docs.docker.com/reference/compose-file/configs/ and .../secrets/
"""

from __future__ import annotations

import base64
import os
from typing import Any

from tiphys.stacks.compose.load import Model
from tiphys.stacks.objects import Facts, digest, dns_name

Json = dict[str, Any]
KINDS = {"configs": "ConfigMap", "secrets": "Secret"}
KEY = "content"
_KNOWN = frozenset({"file", "content", "environment", "external", "name", "labels", "template_driver", "driver"})


class Blobs:
    """The file's configs and secrets by section and name. `objects` are those that some service uses."""

    def __init__(self, model: Model, facts: Facts) -> None:
        self._model, self._facts = model, facts
        self._made: dict[tuple[str, str], Json] = {}

    @property
    def objects(self) -> list[Json]:
        return list(self._made.values())

    def mounts(self, path: str, service: Json) -> tuple[list[Json], list[Json]]:
        """The volumes of a service's references, and where they are mounted."""
        volumes, mounts = [], []
        for section in KINDS:
            for at, reference in enumerate(service.get(section) or ()):
                where = f"{path}.{section}[{at}]"
                one = {"source": reference} if isinstance(reference, str) else dict(reference)
                name = self.name(section, str(one.get("source")), where)
                if not name:
                    continue
                volume = f"{section[:-1]}-{at}"
                item: Json = {"key": KEY, "path": KEY, "mode": self._mode(where, one)}
                key = "secretName" if section == "secrets" else "name"
                volumes.append(
                    {
                        "name": volume,
                        section[:-1] if section == "secrets" else "configMap": {key: name, "items": [item]},
                    }
                )
                mounts.append({"name": volume, "mountPath": _target(section, one), "subPath": KEY, "readOnly": True})
        return volumes, mounts

    def name(self, section: str, source: str, where: str) -> str:
        """The name of the object that holds it; "" after a problem."""
        if (section, source) not in self._made:
            content = self._content(section, source, where)
            if content is None:
                return ""
            self._made[section, source] = _object(section, source, content)
        name: str = self._made[section, source]["metadata"]["name"]
        return name

    def _mode(self, where: str, reference: Json) -> int:
        for key in ("uid", "gid"):
            if str(reference.get(key, "0")) != "0":
                self._model.problems.warn(
                    f"{where}.{key}", "the file belongs to root; let its mode allow others to read it"
                )
        mode = reference.get("mode", 0o444)
        if isinstance(mode, str):
            try:
                mode = int(mode, 8)
            except ValueError:
                self._model.problems.refuse(f"{where}.mode", f"{mode!r} is no mode such as 0444")
                mode = 0o444
        return int(mode)

    def _content(self, section: str, source: str, where: str) -> bytes | None:
        problems, path = self._model.problems, f"{section}.{source}"
        definitions = self._model.content.get(section) or {}
        if source not in definitions:
            problems.refuse(
                where, f"{section} has no {source}", f"one of those there are: {', '.join(definitions) or 'none'}"
            )
            return None
        given = definitions[source] or {}
        for key in given:
            if key not in _KNOWN and not str(key).startswith("x-"):
                problems.refuse(f"{path}.{key}", f"no such field of {section}")
        if given.get("template_driver"):
            problems.refuse(
                f"{path}.template_driver",
                "templates are not expanded",
                "content: with ${VARIABLES}, filled when deploying",
            )
        if given.get("driver"):
            problems.refuse(
                f"{path}.driver", "there are no secret drivers", "an operator that makes Secrets, and external: true"
            )
        return self._read(section, source, given)

    def _read(self, section: str, source: str, given: Json) -> bytes | None:
        problems, path = self._model.problems, f"{section}.{source}"
        if given.get("external"):
            external = given["external"] if isinstance(given["external"], dict) else {}
            name = str(external.get("name") or given.get("name") or source)
            found = self._facts.external(KINDS[section], name)
            if found is None:
                kind = "configmap" if section == "configs" else "secret generic"
                use = f"`kubectl create {kind} {dns_name(name)} -n default --from-file={dns_name(name)}=FILE`"
                problems.refuse(path, f"there is no {KINDS[section]} {dns_name(name)} in the namespace default", use)
            return found
        if given.get("content") is not None:
            return str(given["content"]).encode()
        if given.get("environment"):
            value = self._model.environment.get(str(given["environment"]))
            if value is None:
                problems.refuse(f"{path}.environment", f"the variable {given['environment']} is not set")
            return None if value is None else value.encode()
        if not given.get("file"):
            problems.refuse(path, "nothing says what is in it", "file, content, environment or external")
            return None
        where = os.path.join(self._model.directory, os.path.expanduser(str(given["file"])))
        try:
            with open(where, "rb") as file:
                return file.read()
        except OSError as error:
            problems.refuse(f"{path}.file", f"cannot be read: {error}")
            return None


def _target(section: str, reference: Json) -> str:
    target = str(reference.get("target") or reference.get("source"))
    if target.startswith("/"):
        return target
    return f"/run/secrets/{target}" if section == "secrets" else f"/{target}"


def _object(section: str, source: str, content: bytes) -> Json:
    name = f"{dns_name(source)[:50]}-{digest(content)}"
    encoded = base64.b64encode(content).decode()
    obj: Json = {"apiVersion": "v1", "kind": KINDS[section], "metadata": {"name": name}, "immutable": True}
    if section == "secrets":
        return {**obj, "type": "Opaque", "data": {KEY: encoded}}
    try:
        return {**obj, "data": {KEY: content.decode()}}
    except UnicodeDecodeError:
        return {**obj, "binaryData": {KEY: encoded}}
