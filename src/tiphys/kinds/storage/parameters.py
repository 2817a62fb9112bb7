"""The parameters of a class of volumes, which only its driver understands. Source: upstream's `validateParameters`."""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import invalid, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

_MOST, _MAX_SIZE = 512, 256 * 1024


def check_parameters(parameters: Json, path: str, *, needed: bool) -> Errors:
    if len(parameters) > _MOST:
        yield too_long(path, _MOST)
        return
    if "" in parameters:
        yield invalid(path, "", "field can not be empty.")
    if map_size(parameters) > _MAX_SIZE:
        yield too_long(path, _MAX_SIZE)
    if needed and not parameters:
        yield required(path, "must contain at least one key/value pair")


def map_size(parameters: Json) -> int:
    """In bytes of keys and values."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items())


def check_provisioner(name: str, path: str) -> Errors:
    if not name:
        yield required(path)
    else:
        yield from follows(name.lower(), path, names.qualified_name)
