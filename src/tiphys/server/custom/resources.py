"""From a definition to ResourceTypes: one for each served version, each with its schema, columns, paths and view.

Every version is its own hub: requests are decoded, defaulted, admitted and validated in the version that they name, and
only what goes to the store is of the storage version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tiphys.api import structural
from tiphys.api.custom_schema import from_openapi_v3
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json, ScalePaths, resource
from tiphys.api.schema import Schema
from tiphys.api.versions import preference
from tiphys.server.custom.columns import columns, selectable
from tiphys.server.custom.conversion import Converter, Renaming, Webhook
from tiphys.server.custom.strategy import CustomStrategy
from tiphys.server.custom.view import View
from tiphys.server.webhook_client import WebhookClient

_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@dataclass(slots=True)
class Served:
    """What a definition of one generation serves; `stored` is the storage version, served or not."""

    uid: str
    generation: int
    names: Json
    terminating: bool
    stored: AnyResource
    resources: list[AnyResource] = field(default_factory=list)

    def is_of(self, definition: Json) -> bool:
        meta = definition["metadata"]
        known = self.uid, self.generation, self.names, self.terminating
        return known == (meta["uid"], meta.get("generation", 1), accepted_names(definition), is_terminating(definition))


def accepted_names(definition: Json) -> Json:
    """The names to serve: those that were accepted, and of the rest those that were asked for."""
    names: Json = definition["spec"]["names"]
    accepted = (definition.get("status") or {}).get("acceptedNames") or {}
    chosen = {**names, **{name: value for name, value in accepted.items() if value}} if accepted.get("kind") else names
    for optional in ("shortNames", "categories"):
        if accepted.get("kind") and not accepted.get(optional):
            chosen = {**chosen, optional: []}
    return chosen


def is_terminating(definition: Json) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Terminating" and c["status"] == "True" for c in conditions)


@dataclass(frozen=True, slots=True)
class SchemaOf:
    """The schema of a version, read from its definition when somebody asks."""

    digest: str
    version: str
    raw: Callable[[str], Json]

    def read(self) -> Json:
        return self.raw(self.version)


def serve(definition: Json, client: WebhookClient, raw: Callable[[str], Json]) -> Served:
    """The resources of a definition; `raw` gives the schema of a version as it was written."""
    spec, meta = definition["spec"], definition["metadata"]
    group, names = spec["group"], accepted_names(definition)
    schemas = {f"{group}/{v['name']}": from_openapi_v3(_written(v)) for v in spec["versions"]}
    storage = next(version for version in spec["versions"] if version.get("storage"))
    maker = _Maker(definition, names, schemas, f"{group}/{storage['name']}", _converter(spec, client))
    made = {version["name"]: maker.make(version, raw) for version in spec["versions"]}
    served = [made[version["name"]] for version in spec["versions"] if version.get("served")]
    generation = meta.get("generation", 1)
    return Served(meta["uid"], generation, names, is_terminating(definition), made[storage["name"]], served)


def _written(version: Json) -> Json:
    written: Json = (version.get("schema") or {}).get("openAPIV3Schema") or _ANYTHING
    return written


def _converter(spec: Json, client: WebhookClient) -> Converter:
    conversion = spec.get("conversion") or {}
    return Webhook(client, conversion.get("webhook") or {}) if conversion.get("strategy") == "Webhook" else Renaming()


@dataclass(slots=True)
class _Maker:
    definition: Json
    names: Json
    schemas: dict[str, Schema]
    stored: str
    converter: Converter

    def make(self, version: Json, raw: Callable[[str], Json]) -> AnyResource:
        spec, meta, names = self.definition["spec"], self.definition["metadata"], self.names
        own = f"{spec['group']}/{version['name']}"
        schema, subresources = self.schemas[own], version.get("subresources") or {}
        scale, status = _scale(subresources.get("scale")), subresources.get("status") is not None
        readers, name = selectable(version), version["name"]
        return resource(
            group=spec["group"], version=name, kind=names["kind"], plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            list_kind=names.get("listKind") or f"{names['kind']}List",
            short_names=tuple(names.get("shortNames") or ()), categories=tuple(names.get("categories") or ()),
            namespaced=spec["scope"] == "Namespaced", status=status, scale=scale, columns=tuple(columns(version)),
            structural=schema, unconditional_update=False, selectable_fields=readers,
            strategy=CustomStrategy(schema, scale, status=status),
            view=View(own, self.stored, self.schemas, self.converter, readers=readers) if self._looks(own) else None,
            terminating=is_terminating(self.definition), deprecation_warning=_deprecation(version, spec),
            openapi=SchemaOf(f"{meta['uid']}/{meta.get('generation', 1)}", name, raw),
        )  # fmt: skip

    def _looks(self, own: str) -> bool:
        """Whether stored objects can be other than this version shows them.

        They cannot where all were written by this very definition: then they were defaulted and pruned. Objects written
        through another version have only that version's defaults.
        """
        if self.definition["metadata"].get("generation", 1) > 1 or own != self.stored:
            return True
        # Who owns which fields is told in other versions too, which only the webhook can convert.
        return len(self.schemas) > 1 and (self.converter.remote or structural.has_defaults(self.schemas[own]))


def _scale(scale: Json | None) -> ScalePaths | None:
    if scale is None:
        return None
    paths = (
        (scale.get(name) or "").lstrip(".") for name in ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
    )
    return ScalePaths(*paths)


def _deprecation(version: Json, spec: Json) -> str:
    if not version.get("deprecated"):
        return ""
    told: str = version.get("deprecationWarning") or ""
    if told:
        return told
    name, group, kind = version["name"], spec["group"], spec["names"]["kind"]
    better = [
        other["name"]
        for other in spec["versions"]
        if other.get("served") and not other.get("deprecated") and preference(other["name"]) < preference(name)
    ]
    use = f"; use {group}/{min(better, key=preference)} {kind}" if better else ""
    return f"{group}/{name} {kind} is deprecated{use}"
