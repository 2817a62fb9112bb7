"""What a PUT or PATCH does to an object: one Change per kind of body, applied to the newest state at every try."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from tiphys.api import errors, patch
from tiphys.api.apply import apply as server_side_apply
from tiphys.api.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tiphys.api.resource import Json
from tiphys.api.strategic import strategic_patch_into
from tiphys.server import objects
from tiphys.server.admission.chain import Shape
from tiphys.server.call import Call

_ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
# What a write to the status subresource may set besides the status.
_STATUS_METADATA = ("labels", "annotations", "finalizers", "managedFields")


class Change:
    """`apply` gives the new object from the current one, both in the request's version; it may work in place."""

    # Whether the client named the resourceVersion that it changes: then a lost race is its conflict.
    conditional = False
    # Whether the change keeps managedFields itself.
    manages = False
    creates = False
    # Whether admission was asked before, about the request that this change is a part of.
    admitted = False
    # Whether what it makes of a valid object is valid and belongs to no manager: the server's own small changes.
    sound = False

    def shape(self, call: Call) -> Shape | None:
        """How admission is shown the object, if not as it is."""
        return None

    def apply(self, call: Call, current: Json) -> Json:
        raise NotImplementedError

    def new_object(self, call: Call) -> Json:
        raise NotImplementedError

    def confine(self, call: Call, new: Json, old: Json) -> None:
        """Let a subresource write change its own part only, and a main write all but the status."""
        if call.target.subresource == "status":
            for name in [name for name in new if name not in ("apiVersion", "kind", "metadata", "status")]:
                del new[name]
            for name, value in old.items():
                if name not in ("metadata", "status"):
                    new[name] = value
            own = _STATUS_METADATA if call.hub.structural is None else ("managedFields",)
            meta = {name: value for name, value in old["metadata"].items() if name not in own}
            new["metadata"] = meta | {k: v for k, v in new["metadata"].items() if k in own}
        elif call.hub.status:
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)


class Replace(Change):
    def __init__(self, call: Call, new: Json) -> None:
        self._new = orjson.dumps(new)
        self.creates = call.hub.create_on_update
        self.conditional = bool(new["metadata"].get("resourceVersion"))

    def apply(self, call: Call, current: Json) -> Json:
        if not self.conditional and not call.hub.unconditional_update:
            wrong = errors.FieldError(
                "metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0x0: must be specified for an update"
            )
            raise errors.invalid_object(call.resource.group, call.resource.kind, call.target.name, [wrong])
        return self.new_object(call)

    def new_object(self, call: Call) -> Json:
        new: Json = orjson.loads(self._new)
        return new


class Patch(Change):
    """JSON patch, merge patch and strategic merge patch."""

    def __init__(self, media: str, body: Any) -> None:
        self._media, self._body = media, body
        self.conditional = bool(_metadata(body).get("resourceVersion"))

    def apply(self, call: Call, current: Json) -> Json:
        if self._media == JSON_PATCH:
            new = patch.json_patch(current, self._body)
        elif self._media == MERGE_PATCH:
            new = patch.merge_patch_into(current, self._body)
        else:
            schema = objects.schema_of(call.resource)
            if call.resource.structural is not None or schema is None:
                raise errors.UnsupportedMediaType(_unsupported(STRATEGIC_PATCH))
            new = strategic_patch_into(schema, current, self._body)
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise errors.Invalid("the patch leaves no object with metadata")
        touched = self._touched(call)
        new = objects.check_object(call, new) if touched is None else objects.check_parts(call, new, touched)
        objects.place(new, call)
        return new

    def _touched(self, call: Call) -> Collection[str] | None:
        """The fields of the object in which anything may differ from what was shown, which was sound; None for all."""
        if self._media == JSON_PATCH or call.resource.from_hub is not None or call.resource.structural is not None:
            return None
        return None if any(name.startswith("$") for name in self._body) else self._body.keys()


class Apply(Change):
    """Server-side apply: https://kubernetes.io/docs/reference/using-api/server-side-apply/"""

    manages = True
    creates = True

    def __init__(self, call: Call, body: Any, duplicates: list[str]) -> None:
        if not isinstance(body, dict):
            raise errors.BadRequest("the object to apply must be a JSON or YAML object")
        if not call.request.param("fieldManager"):
            missing = errors.required("fieldManager", "is required for apply patch")
            raise errors.invalid_object("meta.k8s.io", "PatchOptions", "", [missing])
        for name in ("apiVersion", "kind"):
            if not body.get(name):
                raise errors.BadRequest(f"the object to apply has no {name}; it must be set")
        if _metadata(body).get("managedFields"):
            raise errors.BadRequest("metadata.managedFields must be nil")
        self._body = objects.check_object(call, body, duplicates)
        objects.place(self._body, call)
        self._force = call.request.flag("force")
        self.conditional = bool(self._body["metadata"].get("resourceVersion"))

    def apply(self, call: Call, current: Json) -> Json:
        return self._applied(call, current)

    def new_object(self, call: Call) -> Json:
        return self._applied(call, None)

    def _applied(self, call: Call, current: Json | None) -> Json:
        schema = objects.schema_of(call.resource)
        if schema is None:
            raise errors.UnsupportedMediaType(_unsupported(APPLY_PATCH))
        return server_side_apply(
            current, self._body, manager=call.manager, force=self._force, api_version=call.resource.api_version,
            subresource=call.target.subresource, schema=schema, now=call.now, ignored=_not_owned(call),
        )  # fmt: skip


def _metadata(body: Any) -> Json:
    """The metadata of a patch, if there is such a thing in it."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _not_owned(call: Call) -> tuple[str, ...]:
    """Fields that an applier cannot own through this endpoint."""
    if call.target.subresource == "status":
        return ("spec",)
    return ("status",) if call.hub.status else ()


def _unsupported(media: str) -> str:
    return f"the body of the request was in an unknown format - {media} is not served for this resource"


def changer(call: Call, new: Json | None) -> Change:
    """The change that a PUT (`new`) or a PATCH (its body) asks for."""
    if new is not None:
        return Replace(call, new)
    media = call.request.headers.get("content-type", "").split(";", 1)[0].strip()
    if media not in _ACCEPTED:
        raise errors.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(_ACCEPTED)
        )
    if media == APPLY_PATCH:
        return Apply(call, *objects.parse_strict(call, call.request.body, media))
    body = objects.parse(call.request.body, media)
    return Patch(media, body)
