"""Declaring a built-in kind: a `ResourceType` its definition's name and the default columns filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from tiphys.api.resource import Column, Json, ResourceType, Subresource, resource
from tiphys.kinds.columns import AGE, NAME

T = TypeVar("T", bound=msgspec.Struct)

READ_WRITE = ("get", "patch", "update")
SCALE = Subresource("scale", "Scale", READ_WRITE, "autoscaling", "v1")

# Definitions of these groups live outside `io.k8s.api`.
_PACKAGES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}


def schema_name(group: str, version: str, kind: str) -> str:
    """The definition of a built-in kind, such as "io.k8s.api.apps.v1.Deployment"."""
    package = _PACKAGES.get(group) or f"io.k8s.api.{group.split('.', 1)[0]}"
    return f"{package}.{version}.{kind}"


def declare(model: type[T] | None = None, *, group: str, version: str, kind: str, **facts: Any) -> ResourceType[Any]:
    """A ResourceType of upstream's: `facts` are its other fields; without columns it shows name and age."""
    facts.setdefault("schema", schema_name(group, version, kind))
    facts.setdefault("columns", (NAME, AGE))
    return resource(model, group=group, version=version, kind=kind, **facts)


def through_hub(columns: Iterable[Column], to_hub: Callable[[Json], Json]) -> tuple[Column, ...]:
    """The hub's columns for a version of another shape: each cell is read from the converted object."""

    def convert(column: Column) -> Column:
        return replace(column, value=lambda obj, now: column.value(to_hub(obj), now))

    return tuple(map(convert, columns))


def served_as(hub: ResourceType[Any], version: str) -> ResourceType[Any]:
    """`hub` under another version of the same shape: only `apiVersion` differs."""
    api_version = f"{hub.group}/{version}"

    def to_hub(obj: Json) -> Json:
        return {**obj, "apiVersion": hub.api_version}

    def from_hub(obj: Json) -> Json:
        return {**obj, "apiVersion": api_version}

    schema = schema_name(hub.group, version, hub.kind)
    return replace(hub, version=version, schema=schema, hub=hub, to_hub=to_hub, from_hub=from_hub)
