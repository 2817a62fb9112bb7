"""What the cache knows of every object besides its bytes: name, namespace, labels, and the fields to select by.

Decoding a whole pod for nine short texts costs as much as all else that the cache does for it, so that one partial
decoding gets them all; only where a field is worked out by code (of custom resources, as a rule) is the whole decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from sys import intern
from typing import Any

import msgspec
import orjson

from tiphys.api.resource import Json, TextAt

# By the name of a selectable field, how it is read.
Readers = Mapping[str, Callable[[Json], str]]
_Tree = dict[str, "_Tree"]
# Where one value is: the names of attributes, one below the other.
_Way = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """`values` are those of the selectable fields, in the readers' order."""

    name: str
    namespace: str
    labels: dict[str, str]
    values: tuple[str, ...]


class Heads:
    """Reads the heads of one kind of objects."""

    def __init__(self, readers: Readers) -> None:
        self.names = {name: place for place, name in enumerate(readers)}
        self._readers = tuple(readers.values())
        texts = [each for each in self._readers if isinstance(each, TextAt)]
        self._texts = texts if len(texts) == len(self._readers) else None
        paths = [path for each in texts for path in (each.path, each.otherwise) if path]
        self._decoder = _decoder(paths if self._texts is not None else [])
        self._ways = {path: _way(path) for path in paths}

    def read(self, data: bytes) -> Head:
        found = self._decoder.decode(data)
        meta = found.f_metadata
        if self._texts is None:
            obj = orjson.loads(data)
            values = tuple(intern(read(obj)) for read in self._readers)
        else:
            values = tuple(intern(self._text(each, found)) for each in self._texts)
        return Head(meta.f_name or "", meta.f_namespace or "", meta.f_labels or {}, values)

    def _text(self, reader: TextAt, found: Any) -> str:
        value = reduce(_below, self._ways[reader.path], found)
        if not value and reader.otherwise:
            value = reduce(_below, self._ways[reader.otherwise], found)
        return reader.show(value)


def _below(found: Any, name: str) -> Any:
    return getattr(found, name, None)


def _way(path: Sequence[str]) -> _Way:
    return tuple(f"f_{name}" for name in path)


def _decoder(paths: Sequence[Sequence[str]]) -> msgspec.json.Decoder[Any]:
    """Of structs that hold nothing but what is at the paths, and the metadata."""
    tree: _Tree = {"metadata": {}}
    for path in paths:
        here = tree
        for name in path:
            here = here.setdefault(name, {})
    meta = {"name": str | None, "namespace": str | None, "labels": dict[str, str] | None}
    known = [(f"f_{name}", kind, None) for name, kind in meta.items()]
    known += [(f"f_{name}", _struct(below), None) for name, below in tree.pop("metadata").items() if name not in meta]
    fields = [("f_metadata", _defined("Metadata", known)), *((f"f_{n}", _struct(t), None) for n, t in tree.items())]
    return msgspec.json.Decoder(_defined("Object", fields))


def _struct(tree: _Tree) -> Any:
    """The type of what is decoded: a struct where something is below, else whatever there is."""
    if not tree:
        return Any
    return _defined("Part", [(f"f_{name}", _struct(below), None) for name, below in tree.items()]) | None


def _defined(name: str, fields: Sequence[Any]) -> Any:
    return msgspec.defstruct(name, fields, rename=lambda field: field.removeprefix("f_"), gc=False)


# Of objects that nobody selects by fields of their own.
PLAIN = Heads({})
