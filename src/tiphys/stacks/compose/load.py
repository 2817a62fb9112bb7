"""Compose files read, interpolated, merged, with `extends` and profiles settled: one plain model.

YAML anchors are the reader's; `x-*` is left out. Source: https://docs.docker.com/reference/compose-file/
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from tiphys.stacks.compose.interpolate import expand, interpolated
from tiphys.stacks.compose.merging import merged
from tiphys.stacks.problems import Problems, Refused

Json = dict[str, Any]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SECTIONS = ("services", "networks", "volumes", "configs", "secrets")
_NOT_EXTENDED = ("depends_on", "links", "volumes_from")


@dataclass
class Model:
    """`content` is as the file has it; `directory` is what relative paths start from; `environment` the variables."""

    content: Json
    directory: str
    environment: Mapping[str, str]
    problems: Problems = field(default_factory=lambda: Problems(lambda path: ""))


def load(files: Sequence[str], environment: Mapping[str, str], *, profiles: Sequence[str] = ()) -> Model:
    """The model of one or several files, the later over the earlier. Raises Refused for what cannot be read."""
    documents = {name: read(name) for name in files}
    directory = os.path.dirname(os.path.abspath(files[0]))
    variables = {**dotenv(os.path.join(directory, ".env")), **environment}
    problems = Problems(lambda path: _file_of(documents, path))
    content: Json = {}
    for document in documents.values():
        for section in _SECTIONS:
            if not isinstance(document.get(section) or {}, dict):
                raise Refused([f"{_file_of(documents, section)}: {section}: a mapping is expected"])
        content = merged(content, interpolated(document, variables, problems))
    model = Model(content, directory, variables, problems)
    services = content.get("services") or {}
    content["services"] = {
        name: _extended(model, name, service, (name,))
        for name, service in services.items()
        if isinstance(service, dict)
    }
    for name in services.keys() - content["services"].keys():
        problems.refuse(f"services.{name}", "a mapping is expected")
    content["services"] = {name: one for name, one in content["services"].items() if _active(one, profiles)}
    return model


def read(name: str) -> Json:
    """A file's mapping. Raises Refused."""
    try:
        with open(name, encoding="utf-8") as file:
            document = yaml.load(file, Loader=_LOADER)  # noqa: S506 - the safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise Refused([f"{name}: cannot be read: {error}"]) from None
    except yaml.YAMLError as error:
        raise Refused([f"{name}: no YAML: {error}"]) from None
    if not isinstance(document, dict):
        raise Refused([f"{name}: a mapping with `services` is expected"])
    return document


def dotenv(path: str) -> dict[str, str]:
    """The variables of an env file; none if there is none. Raises Refused if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Refused([f"{path}: cannot be read: {error}"]) from None
    found: dict[str, str] = {}
    for line in lines:
        text = line.strip().removeprefix("export ")
        name, sign, value = text.partition("=")
        if text and not text.startswith("#") and sign:
            found[name.strip()] = _unquoted(value.strip(), found)
    return found


def _unquoted(value: str, known: Mapping[str, str]) -> str:
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace("\\n", "\n").replace('\\"', '"')
    else:
        value = value.split(" #")[0].rstrip()
    try:
        return expand(value, {**os.environ, **known})
    except ValueError:
        return value


def _active(service: Json, profiles: Sequence[str]) -> bool:
    own = service.get("profiles") or []
    return not own or bool(set(own) & set(profiles)) or "*" in profiles


def _extended(model: Model, name: str, service: Json, seen: tuple[str, ...]) -> Json:
    """The service over the one that it extends."""
    extends = service.get("extends")
    if not extends:
        return service
    own = {key: value for key, value in service.items() if key != "extends"}
    base, file = (extends, None) if isinstance(extends, str) else (extends.get("service"), extends.get("file"))
    path = f"services.{name}.extends"
    services = model.content["services"]
    if file:
        other = read(os.path.join(model.directory, file))
        services = interpolated(other.get("services") or {}, model.environment, model.problems)
    elif base in seen:
        model.problems.refuse(path, f"{' -> '.join([*seen, str(base)])} is a circle")
        return own
    if base not in services:
        model.problems.refuse(path, f"there is no service {base}" + (f" in {file}" if file else ""))
        return own
    inherited = services[base] if file else _extended(model, name, services[base], (*seen, base))
    kept = {key: value for key, value in inherited.items() if key not in _NOT_EXTENDED and key != "extends"}
    whole: Json = merged(kept, own)
    return whole


def _file_of(documents: Mapping[str, Json], path: str) -> str:
    """The last file that says something at the path, or at the longest part of it that one says."""
    words = path.replace("[", ".").replace("]", "").split(".")
    best, depth = next(iter(documents)), 0
    for name, document in documents.items():
        reached, here = 0, document
        for word in words:
            if not isinstance(here, dict) or word not in here:
                break
            here, reached = here[word], reached + 1
        if reached and reached >= depth:
            best, depth = name, reached
    return best
