"""What the cache knows of every object besides its bytes: name, namespace, labels, and the fields to select by.

Decoding a whole pod for nine short texts costs as much as all else that the cache does for it, so that one partial
decoding gets them all; only where a field is worked out by code (of custom resources, as a rule) is the whole decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from sys import intern
from typing import Any

import msgspec
import orjson

from tiphys.api.resource import Json, TextAt

# By the name of a selectable field, how it is read.
Readers = Mapping[str, Callable[[Json], str]]
_Tree = dict[str, "_Tree"]


_META = {"name": str | None, "namespace": str | None, "labels": dict[str, str] | None}


@dataclass(frozen=True, slots=True)
class Head:
    """`values` are those of the selectable fields, in the readers' order."""

    name: str
    namespace: str
    labels: dict[str, str]
    values: tuple[str, ...]


class Heads:
    """Reads the heads of one kind of objects. `names` tells at which place a field's value is."""

    def __init__(self, readers: Readers) -> None:
        unique = tuple(dict.fromkeys(readers.values()))
        self.names = {name: unique.index(reader) for name, reader in readers.items()}
        self._readers = unique
        texts = [each for each in unique if isinstance(each, TextAt)]
        plain = len(texts) == len(unique)
        paths = [path for each in texts for path in (each.path, each.otherwise) if path] if plain else []
        self._decoder = _decoder(paths)
        self._get = _getter([each.path for each in texts]) if plain else None
        # Those that need more than the text that is there, by their place.
        self._odd = [
            (place, each, _getter([each.otherwise]) if each.otherwise else None)
            for place, each in enumerate(texts)
            if each != TextAt(each.path)
        ]

    def read(self, data: bytes) -> Head:
        found = self._decoder.decode(data)
        meta = found.f_metadata
        return Head(meta.f_name or "", meta.f_namespace or "", meta.f_labels or {}, self._values(found, data))

    def _values(self, found: Any, data: bytes) -> tuple[str, ...]:
        if self._get is None:
            obj = orjson.loads(data)
            return tuple(intern(read(obj)) for read in self._readers)
        values = list(self._get(found))
        for place, reader, otherwise in self._odd:
            value = values[place]
            values[place] = reader.show(otherwise(found)[0] if otherwise is not None and not value else value)
        return tuple([intern(v) if type(v) is str else "" if v is None else str(v) for v in values])


def _getter(paths: Sequence[Sequence[str]]) -> Callable[[Any], tuple[Any, ...]]:
    """Of all the paths at once."""
    ways = [".".join(f"f_{name}" for name in path) for path in paths]
    if not ways:
        return lambda found: ()
    get = attrgetter(*ways)
    return get if len(ways) > 1 else lambda found: (get(found),)


def _decoder(paths: Sequence[Sequence[str]]) -> msgspec.json.Decoder[Any]:
    """Of structs that hold nothing but what is at the paths, and the metadata."""
    tree: _Tree = {"metadata": {}}
    for path in paths:
        here = tree
        for name in path:
            here = here.setdefault(name, {})
    below = tree.pop("metadata")
    meta = [_field(name, below.get(name, {})) for name in below if name not in _META]
    meta += [(f"f_{name}", kind, None) for name, kind in _META.items()]
    return msgspec.json.Decoder(_struct([("f_metadata", _struct(meta)), *(_field(*part) for part in tree.items())]))


def _field(name: str, tree: _Tree) -> tuple[str, Any, Any]:
    """A field of a struct: whatever there is, or where something is below it a struct, empty where there is none."""
    if not tree:
        return f"f_{name}", Any, None
    made = _struct([_field(*part) for part in tree.items()])
    return f"f_{name}", made, msgspec.field(default_factory=made)


def _struct(fields: Sequence[Any]) -> Any:
    return msgspec.defstruct("Part", fields, rename=lambda field: field.removeprefix("f_"), gc=False)


# Of objects that nobody selects by fields of their own.
PLAIN = Heads({})
