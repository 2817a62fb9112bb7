"""CustomResourceDefinitions: each becomes ResourceTypes in the registry and travels the built-ins' road from there.

`load` serves what the store holds at start; `run` follows the definitions: names are accepted or refused, the status
says so, and a deleted definition takes its objects along.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tiphys.api import structural
from tiphys.api.errors import FieldError, invalid
from tiphys.api.http import Request, User
from tiphys.api.jsonpath import Path, compile_path
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Column, Json, ScalePaths, Strategy, resource
from tiphys.api.rules import has_rules
from tiphys.api.rules.ratchet import unforgiven
from tiphys.api.schema import Schema, from_openapi_v3
from tiphys.api.time import age, rfc3339, seconds
from tiphys.base.log import Log
from tiphys.server.app import ApiServer
from tiphys.server.cache import Cache, Entry, Watcher
from tiphys.server.call import Call
from tiphys.server.changes import Change
from tiphys.server.route import Target

if TYPE_CHECKING:
    from tiphys.api.rules.compiled import RuleTree

_log = Log("crds")
_GROUP, _PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
_PREFIX = f"/registry/{_GROUP}/{_PLURAL}/"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_SELF = User("system:apiserver", groups=("system:masters", "system:authenticated"))


# Errors after which rules could not trust the object.
_BLOCKING = frozenset({"FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"})
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


class CustomStrategy(Strategy):
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._has_rules = has_rules(schema)
        self._rules: RuleTree | None = None

    def default(self, new: Json) -> None:
        structural.default(self._schema, new)

    def validate(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        found = [*structural.missing(self._schema, new), *structural.validate(self._schema, new)]
        if found and old is not None:
            found = list(unforgiven(self._schema, found, new, old))
        yield from found
        if not self._has_rules:
            return
        if any(error.reason in _BLOCKING for error in found):
            yield invalid("<nil>", None, _UNCHECKED)
            return
        # Only definitions that have rules load the language.
        from tiphys.api.rules.compiled import tree
        from tiphys.api.rules.evaluate import evaluate_rules

        if self._rules is None:
            self._rules = tree(self._schema, root=True)
        if self._rules is not None:
            yield from evaluate_rules(self._rules, new, old)


def resources_of(definition: Json) -> list[AnyResource]:
    """The ResourceTypes of a definition's served versions; the storage version is the hub of the others."""
    spec = definition["spec"]
    stored = next(version for version in spec["versions"] if version.get("storage"))
    hub = _resource(spec, stored)
    found = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        found.append(hub if version is stored else _resource(spec, version, hub))
    return found


def _resource(spec: Json, version: Json, hub: AnyResource | None = None) -> AnyResource:
    names = spec["names"]
    raw = (version.get("schema") or {}).get("openAPIV3Schema") or {"x-kubernetes-preserve-unknown-fields": True}
    schema = from_openapi_v3(raw)
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    list_kind = names.get("listKind") or f"{names['kind']}List"
    facts: dict[str, Any] = {}
    if hub is not None:
        facts |= {
            "hub": hub,
            "to_hub": _convert(hub.api_version),
            "from_hub": _convert(f"{spec['group']}/{version['name']}"),
        }
    return resource(
        group=spec["group"], version=version["name"], kind=names["kind"], plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(), list_kind=list_kind,
        short_names=tuple(names.get("shortNames") or ()), categories=tuple(names.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced", status="status" in subresources,
        scale=_scale(scale) if scale else None, columns=tuple(_columns(version)), structural=schema,
        strategy=CustomStrategy(schema), selectable_fields=dict(_selectable(version)), **facts,
    )  # fmt: skip


def _convert(api_version: str) -> Any:
    """Conversion strategy None: only apiVersion changes."""
    return lambda obj: {**obj, "apiVersion": api_version}


def _scale(scale: Json) -> ScalePaths:
    paths = (
        scale.get(name, "").lstrip(".") for name in ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
    )
    return ScalePaths(*paths)


def _columns(version: Json) -> Iterator[Column]:
    declared = version.get("additionalPrinterColumns")
    yield Column("Name", lambda obj, now: obj["metadata"]["name"], format="name")
    if not declared:
        declared = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    for column in declared:
        value = _cell(compile_path(column["jsonPath"]), column["type"])
        yield Column(
            column["name"], value, column["type"], column.get("format", ""), column.get("description", ""),
            column.get("priority", 0),
        )  # fmt: skip


def _cell(path: Path, kind: str) -> Any:
    def value(obj: Json, now: float) -> Any:
        found = path(obj)
        if not found:
            return None
        if kind == "date":
            return age(now - seconds(found[0])) if isinstance(found[0], str) else None
        return found[0] if kind in ("integer", "number", "boolean") else str(found[0])

    return value


def _selectable(version: Json) -> Iterator[tuple[str, Any]]:
    for field in version.get("selectableFields") or ():
        path = compile_path(field["jsonPath"])
        yield field["jsonPath"].lstrip("."), _reader(path)


def _reader(path: Path) -> Any:
    def read(obj: Json) -> str:
        found = path(obj)
        if not found:
            return ""
        return str(found[0]).lower() if isinstance(found[0], bool) else str(found[0])

    return read


class CustomResources:
    def __init__(self, server: ApiServer, cache: Cache) -> None:
        self._server, self._cache = server, cache
        self._definitions = cache.of(_PREFIX)
        self._served: dict[str, list[AnyResource]] = {}

    def load(self) -> None:
        """Serve every definition that was established before."""
        for entry in self._definitions.items.values():
            definition = entry.decode()
            if _condition(definition, "Established") == "True":
                self._serve(entry.name, definition)

    async def run(self) -> None:
        """Follow the definitions for ever."""
        watcher = Watcher(lambda entry: True)
        self._definitions.add(watcher)
        try:
            for entry in list(self._definitions.items.values()):
                await self._sync(entry)
            while True:
                for kind, entry in await watcher.next():
                    if kind == "DELETED":
                        self._withdraw(entry.name)
                    elif entry.name in {e.name for e in self._definitions.items.values()}:
                        await self._sync(entry)
        finally:
            self._definitions.remove(watcher)

    async def _sync(self, entry: Entry) -> None:
        definition = entry.decode()
        if definition["metadata"].get("deletionTimestamp"):
            await self._clean(entry.name, definition)
            return
        problem = self._conflict(entry.name, definition["spec"])
        if problem is None:
            self._serve(entry.name, definition)
        await self._server.writes.modify(self._call(entry.name, "status"), _Accept(problem))

    def _conflict(self, name: str, spec: Json) -> tuple[str, str] | None:
        """The reason and message that keep a definition's names from being accepted."""
        names = spec["names"]
        for other in self._definitions.items.values():
            accepted = (other.decode().get("status") or {}).get("acceptedNames") or {}
            if other.name == name or other.decode()["spec"]["group"] != spec["group"]:
                continue
            for field, label in (
                ("plural", "Plural"),
                ("singular", "Singular"),
                ("kind", "Kind"),
                ("listKind", "ListKind"),
            ):
                if names.get(field) and names[field] == accepted.get(field):
                    return f"{label}Conflict", f'"{names[field]}" is already in use'
        return None

    def _serve(self, name: str, definition: Json) -> None:
        try:
            found = resources_of(definition)
        except (KeyError, StopIteration, ValueError) as error:
            _log.error("definition cannot be served", name=name, error=error)
            return
        old = self._served.get(name, [])
        self._served[name] = found
        self._server.registry.update(remove=old, add=found)
        if found:
            self._cache.forget((found[0].hub or found[0]).prefix)

    def _withdraw(self, name: str) -> None:
        self._server.registry.update(remove=self._served.pop(name, []))

    async def _clean(self, name: str, definition: Json) -> None:
        """Delete the objects of a definition that goes, then let it go."""
        if CLEANUP not in (definition["metadata"].get("finalizers") or ()):
            return
        for served in self._served.get(name, [])[:1]:
            path = served.path()
            target = Target("deletecollection", path, served.group, served.version, resource=served.plural)
            call = Call(Request("DELETE", path), target, served, _SELF, self._server.clock.time())
            await self._server.deletion.delete_collection(call)
            if self._cache.of((served.hub or served).prefix).items:
                watcher = Watcher(lambda entry: True)
                collection = self._cache.of((served.hub or served).prefix)
                collection.add(watcher)
                try:
                    await self._cache.fresh()
                    while collection.items:
                        await watcher.next()
                finally:
                    collection.remove(watcher)
        await self._server.writes.modify(self._call(name, ""), _Release())

    def _call(self, name: str, subresource: str) -> Call:
        definitions = self._server.resource(_GROUP, "v1", _PLURAL)
        path = definitions.path(name, subresource=subresource)
        target = Target("update", path, _GROUP, "v1", "", _PLURAL, name, subresource)
        request = Request("PUT", path, headers={"user-agent": "tiphys-server"})
        return Call(request, target, definitions, _SELF, self._server.clock.time())


class _Accept(Change):
    """Write what became of the names into the status."""

    def __init__(self, problem: tuple[str, str] | None) -> None:
        self._problem = problem

    def apply(self, call: Call, current: Json) -> Json:
        status = current.setdefault("status", {})
        now = rfc3339(call.now)
        finalizers = current["metadata"].setdefault("finalizers", [])
        if CLEANUP not in finalizers:
            finalizers.append(CLEANUP)
        if self._problem is None:
            names = current["spec"]["names"]
            singular = names.get("singular") or names["kind"].lower()
            filled = {"singular": singular, "listKind": names.get("listKind") or names["kind"] + "List"}
            status["acceptedNames"] = {**filled, **names}
            _set(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
            _set(status, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now)
        else:
            status.setdefault("acceptedNames", {"plural": "", "kind": ""})
            _set(status, "NamesAccepted", "False", *self._problem, now)
            if not any(c["type"] == "Established" for c in status["conditions"]):
                _set(status, "Established", "False", "NotAccepted", "not all names are accepted", now)
        stored = next(version["name"] for version in current["spec"]["versions"] if version.get("storage"))
        versions = status.setdefault("storedVersions", [])
        if stored not in versions:
            versions.append(stored)
        return current


class _Release(Change):
    def apply(self, call: Call, current: Json) -> Json:
        finalizers = current["metadata"].get("finalizers") or []
        current["metadata"]["finalizers"] = [name for name in finalizers if name != CLEANUP]
        return current


def _condition(definition: Json, kind: str) -> str:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return next((c["status"] for c in conditions if c["type"] == kind), "")


def _set(status: Json, kind: str, value: str, reason: str, message: str, now: str) -> None:
    conditions = status.setdefault("conditions", [])
    for condition in conditions:
        if condition["type"] == kind:
            if condition["status"] != value:
                condition["lastTransitionTime"] = now
            condition |= {"status": value, "reason": reason, "message": message}
            return
    conditions.append({"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": now})
