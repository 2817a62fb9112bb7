"""A small dialect of Dockerfile: enough to put files on a base, not to run anything. Pure.

FROM, COPY, ENV, CMD, ENTRYPOINT, WORKDIR, EXPOSE, USER, LABEL. RUN needs a build tool; the error says which.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tiphys.node.oci import ImageError


@dataclass(slots=True)
class Plan:
    """What a build file asks for. `copies` are (sources, destination), in order; `config` is OCI's runtime config."""

    base: str = ""
    copies: list[tuple[list[str], str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


def parse(text: str, where: str = "Dockerfile") -> Plan:
    """Read a build file. Raises ImageError that names file, line and instruction."""
    plan = Plan()
    for number, line in _lines(text):
        word, _, rest = line.partition(" ")
        name = word.upper()
        handler = _HANDLERS.get(name)
        if handler is None:
            advice = "use buildah and import the archive" if name in _NEEDS_BUILDER else "not an instruction here"
            raise ImageError(f"{where}:{number}: {name} is not supported: {advice}")
        if not plan.base and name != "FROM":
            raise ImageError(f"{where}:{number}: {name} before FROM: start with FROM scratch or FROM <image>")
        try:
            handler(plan, _expand(rest.strip(), plan.env))
        except ValueError as error:
            raise ImageError(f"{where}:{number}: {name}: {error}") from error
    if not plan.base:
        raise ImageError(f"{where}: no FROM in it")
    return plan


_NEEDS_BUILDER = {"RUN", "ADD", "ARG", "SHELL", "ONBUILD", "HEALTHCHECK", "VOLUME", "STOPSIGNAL"}


def _lines(text: str) -> list[tuple[int, str]]:
    """Logical lines with their numbers: comments and blanks gone, continuations joined."""
    found: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = start or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        found.append((start, pending + line))
        pending, start = "", 0
    if pending:
        found.append((start, pending.strip()))
    return found


def _expand(text: str, env: dict[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: env.get(m[1] or m[2], m[0]), text)


def _from(plan: Plan, rest: str) -> None:
    if plan.base:
        raise ValueError("a second FROM: builds of several stages need buildah")
    plan.base = rest.split()[0]


def _copy(plan: Plan, rest: str) -> None:
    words = _vector(rest) if rest.startswith("[") else shlex.split(rest)
    flags = [word for word in words if word.startswith("--")]
    if flags:
        raise ValueError(f"{flags[0]} is not supported")
    if len(words) < 2:
        raise ValueError("needs a source and a destination")
    destination = words[-1]
    if not destination.startswith("/"):
        destination = f"{plan.config.get('WorkingDir', '/').rstrip('/')}/{destination}"
    plan.copies.append((words[:-1], destination))


def _pairs(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:
        return {words[0]: " ".join(words[1:])}
    return dict(word.split("=", 1) for word in words)


def _vector(rest: str) -> list[str]:
    found = orjson.loads(rest)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ValueError("must be a list of strings")
    return found


def _command(key: str) -> Callable[[Plan, str], None]:
    def set_command(plan: Plan, rest: str) -> None:
        plan.config[key] = _vector(rest) if rest.startswith("[") else ["/bin/sh", "-c", rest]

    return set_command


def _env(plan: Plan, rest: str) -> None:
    plan.env.update(_pairs(rest))


def _workdir(plan: Plan, rest: str) -> None:
    plan.config["WorkingDir"] = rest if rest.startswith("/") else f"{plan.config.get('WorkingDir', '')}/{rest}"


def _expose(plan: Plan, rest: str) -> None:
    ports = plan.config.setdefault("ExposedPorts", {})
    ports.update({port if "/" in port else f"{port}/tcp": {} for port in rest.split()})


def _user(plan: Plan, rest: str) -> None:
    plan.config["User"] = rest


def _label(plan: Plan, rest: str) -> None:
    plan.config.setdefault("Labels", {}).update(_pairs(rest))


_HANDLERS: dict[str, Callable[[Plan, str], None]] = {
    "FROM": _from, "COPY": _copy, "ENV": _env, "CMD": _command("Cmd"), "ENTRYPOINT": _command("Entrypoint"),
    "WORKDIR": _workdir, "EXPOSE": _expose, "USER": _user, "LABEL": _label,
}  # fmt: skip
