"""Mutating admission's own rules: how a change is taken over, and who is asked a second time.

What a webhook or policy made of an object is decoded and defaulted like a client's, and cannot change what the object
is. Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#reinvocation-policy
"""

from __future__ import annotations

from collections.abc import Hashable

import orjson

from tiphys.api import check, errors
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.server import objects
from tiphys.server.admission.chain import Attributes

_KEPT = (
    "name", "namespace", "generateName", "uid", "creationTimestamp", "generation", "deletionTimestamp",
    "deletionGracePeriodSeconds",
)  # fmt: skip


async def take(attributes: Attributes, resource: AnyResource, new: Json) -> None:
    """Make `new`, of the version `resource`, the request's object. Raises InternalError where it cannot be one."""
    obj = attributes.obj
    assert obj is not None, "the caller refuses to change what is not there"
    attributes.changed()
    if attributes.shape is not None:
        attributes.shape.take(obj, new)
        return
    if attributes.kind_in(resource)[2] == resource.kind:
        new = _decoded(resource, new)
        if resource.structural is not None and resource.api_version != attributes.resource.api_version:
            new = await attributes.converted(resource, new, attributes.resource)
        _keep(new["metadata"], obj["metadata"])
    obj.clear()
    obj.update(new)
    if obj.get("kind") == attributes.resource.kind:
        attributes.resource.strategy.default(obj)


def _decoded(resource: AnyResource, new: Json) -> Json:
    """As `objects.check_object`, but nobody is told of unknown fields."""
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise errors.InternalError("Internal error occurred: admission left no object with metadata")
    rest = {name: value for name, value in new.items() if name not in ("apiVersion", "kind", "metadata")}
    new = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": new["metadata"], **rest}
    schema = objects.schema_of(resource)
    if schema is not None:
        try:
            check.decode(schema, new)
        except errors.BadRequest as error:
            raise errors.InternalError(f"Internal error occurred: {error}") from error
    return new if resource.to_hub is None else resource.to_hub(new)


def _keep(meta: Json, before: Json) -> None:
    for name in _KEPT:
        if name in before:
            meta[name] = before[name]
        else:
            meta.pop(name, None)


class Rounds:
    """Which webhooks (or policies) of one plugin are due in the second round of a request."""

    def __init__(self) -> None:
        self._invoked: set[Hashable] = set()
        self._again: set[Hashable] = set()
        self._output = b""

    @classmethod
    def of(cls, attributes: Attributes, plugin: str) -> Rounds:
        """The state of `plugin` in this request, at the start of a round."""
        rounds: Rounds = attributes.state.setdefault(plugin, cls())
        if attributes.reinvoking and rounds._invoked and orjson.dumps(attributes.obj) != rounds._output:
            # The plugins that ran before this one in the second round changed something again.
            rounds._require()
        return rounds

    def due(self, key: Hashable, attributes: Attributes) -> bool:
        return not attributes.reinvoking or key in self._again

    def took(self, key: Hashable, attributes: Attributes, *, changed: bool, reinvoke: bool) -> None:
        """Book a call: whoever came before and wishes so is asked again after a change."""
        if changed:
            self._require()
            attributes.reinvoke = True
        if reinvoke:
            self._invoked.add(key)

    def done(self, attributes: Attributes) -> None:
        if self._invoked:
            self._output = orjson.dumps(attributes.obj)

    def _require(self) -> None:
        self._again |= self._invoked
        self._invoked.clear()
