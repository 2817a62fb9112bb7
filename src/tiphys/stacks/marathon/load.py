"""Marathon files read: an app, a group or a list of either, as a flat list of apps with absolute ids.

Source: https://mesosphere.github.io/marathon/docs/application-groups.html
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tiphys.stacks.objects import dns_name
from tiphys.stacks.problems import Problems, Refused

Json = dict[str, Any]


@dataclass(frozen=True)
class App:
    """`id` is absolute, `path` where the file has it, `needs` the ids of apps or groups that start before."""

    id: str
    path: str
    spec: Json
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As objects are named: `/shop/db` is shop-db."""
        return dns_name(self.id.strip("/").replace("/", "-"))


@dataclass
class Model:
    """`groups` are the ids of the groups that are defined in whole: other apps below them are removed."""

    apps: list[App]
    groups: list[str]
    problems: Problems


def load(files: Sequence[str], image: str = "") -> Model:
    """`image` is what apps run in that name none. Raises Refused for what cannot be read."""
    found = Model([], [], Problems(lambda path: path.partition("#")[0] if "#" in path else files[0]))
    for name in files:
        content = _read(name)
        for at, one in enumerate(content if isinstance(content, list) else [content]):
            path = f"[{at}]." if isinstance(content, list) else ""
            if not isinstance(one, dict):
                raise Refused([f"{name}: {path}: an app or a group is expected"])
            if "apps" in one or "groups" in one:
                found.groups.append(_absolute("/", str(one.get("id") or "/")))
            found.apps += _apps(found, one, ("/", path, ()))
    found.problems = Problems(lambda path: ", ".join(files))
    seen: set[str] = set()
    for app in found.apps:
        if not app.name:
            found.problems.refuse(f"{app.path}id", "an app needs an id", "letters, digits and -")
        if app.name in seen:
            found.problems.refuse(f"{app.path}id", f"{app.id} is defined twice")
        seen.add(app.name)
        if image:
            container = app.spec["container"] = dict(app.spec.get("container") or {})
            container["docker"] = {"image": image, **(container.get("docker") or {})}
    return found


def _read(name: str) -> Any:
    try:
        with open(name, "rb") as file:
            return orjson.loads(file.read())
    except OSError as error:
        raise Refused([f"{name}: cannot be read: {error}"]) from None
    except ValueError as error:
        raise Refused([f"{name}: no JSON: {error}"]) from None


def _apps(model: Model, one: Json, where: tuple[str, str, tuple[str, ...]]) -> Iterator[App]:
    base, path, needs = where
    own = _absolute(base, str(one.get("id") or ""))
    needs = (
        *needs,
        *(
            _absolute(base if "apps" not in one and "groups" not in one else own, str(d))
            for d in one.get("dependencies") or ()
        ),
    )
    if "apps" not in one and "groups" not in one:
        yield App(own, path, one, needs)
        return
    for section in ("apps", "groups"):
        for at, inner in enumerate(one.get(section) or ()):
            yield from _apps(model, inner, (own, f"{path}{section}[{at}].", needs))


def _absolute(base: str, text: str) -> str:
    return posixpath.normpath(posixpath.join(base, text))


def waves(apps: Sequence[App], problems: Problems) -> list[frozenset[str]]:
    """Names of apps in the order of their start. A circle is a problem."""
    left = {
        app.name: {other.name for other in apps if other is not app and any(_below(other.id, n) for n in app.needs)}
        for app in apps
    }
    found: list[frozenset[str]] = []
    while left:
        ready = frozenset(name for name, needs in left.items() if not needs & left.keys())
        if not ready:
            problems.refuse("dependencies", f"{', '.join(sorted(left))} wait for each other in a circle")
            return found
        found.append(ready)
        left = {name: needs for name, needs in left.items() if name not in ready}
    return found


def _below(id_: str, group: str) -> bool:
    return id_ == group or id_.startswith(group.rstrip("/") + "/")
