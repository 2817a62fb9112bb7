"""From the words of a command line to objects: `TYPE NAME..`, `TYPE/NAME..`, `TYPE[,TYPE]`, files, selectors.

A `Target` is one object or one collection to ask for. Messages are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from tiphys.cli.command import Call
from tiphys.cli.discovery import Resource
from tiphys.cli.errors import CliError, ServerError

Json = dict[str, Any]


class Target(NamedTuple):
    """`name` "" is a collection, narrowed by the call's selectors. `obj` is what a file holds, `source` the file."""

    resource: Resource
    namespace: str
    name: str
    obj: Json | None = None
    source: str = ""

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace, self.name)

    @property
    def title(self) -> str:
        return self.resource.title(self.name)


class Info(NamedTuple):
    """A live object and where it lives."""

    resource: Resource
    namespace: str
    name: str
    obj: Json
    source: str = ""

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace, self.name)

    @property
    def title(self) -> str:
        return self.resource.title(self.name)


_NOTHING = """You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'"""


def targets(call: Call, args: list[str] | None = None, *, single: bool = False) -> list[Target]:
    """What the call's files and words name. `single` refuses collections. Raises CliError."""
    words = call.args if args is None else args
    if call.opts.get("kustomize"):
        raise CliError("kustomize is not built in; pipe its output to -f -")
    if call.opts.get("filename"):
        if words:
            raise CliError("when paths, URLs, or stdin is provided as input, you may not specify resource arguments "
                           "as well")  # fmt: skip
        return list(from_files(call))
    if not words:
        raise CliError(_NOTHING)
    found = list(_from_words(call, words))
    if single and any(not target.name for target in found) and not call.opts.get("all") and not _selected(call):
        raise CliError("resource(s) were provided, but no name was specified")
    return found


def _selected(call: Call) -> bool:
    return bool(call.opts.get("selector") or call.opts.get("field-selector"))


def _from_words(call: Call, words: list[str]) -> Iterator[Target]:
    slashed = [word for word in words if "/" in word]
    if slashed:
        if len(slashed) != len(words):
            raise CliError(
                "there is no need to specify a resource type as a separate argument when passing arguments in "
                "resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource "
                "resource/<resource_name>'"
            )
        for word in words:
            kind, _, name = word.partition("/")
            if not kind or not name or "/" in name:
                raise CliError("arguments in resource/name form must have a single resource and name")
            yield from _named(call, [call.discovery.find(kind)], [name])
        return
    resources = list(resource_types(call, words[0]))
    names = words[1:]
    if names:
        yield from _named(call, resources, names)
        return
    for resource in resources:
        yield Target(resource, "" if call.opts.get("all-namespaces") else call.namespace, "")


def _named(call: Call, resources: list[Resource], names: list[str]) -> Iterator[Target]:
    if _selected(call):
        raise CliError("name cannot be provided when a selector is specified")
    if call.opts.get("all"):
        raise CliError("setting 'all' parameter but found a non empty selector. ")
    for resource in resources:
        if call.opts.get("all-namespaces") and resource.namespaced:
            raise CliError("a resource cannot be retrieved by name across all namespaces")
        for name in names:
            yield Target(resource, call.namespace if resource.namespaced else "", name)


def resource_types(call: Call, text: str) -> Iterator[Resource]:
    """The resources of a comma-separated list of types and categories. Raises CliError."""
    for word in text.split(","):
        if not word:
            continue
        category = call.discovery.category(word)
        if category:
            yield from category
        else:
            yield call.discovery.find(word)


def from_files(call: Call) -> Iterator[Target]:
    """The objects of `-f`, their namespaces filled in. Raises CliError for what is no object."""
    from tiphys.cli.files import documents

    for obj, source in documents(call.opts["filename"], recursive=bool(call.opts.get("recursive"))):
        for item in flatten(obj):
            yield target_of(call, item, source)


def target_of(call: Call, obj: Json, source: str) -> Target:
    """Where a file's object belongs. Raises CliError when it says another namespace than `-n`."""
    for field in ("apiVersion", "kind"):
        if not obj.get(field):
            raise CliError(f'error validating "{source}": error validating data: {field} not set; if you choose to '
                           "ignore these errors, turn validation off with --validate=false")  # fmt: skip
    try:
        resource = call.discovery.of_kind(obj["apiVersion"], obj["kind"])
    except CliError as error:
        metadata = obj.get("metadata") or {}
        raise CliError(
            f'resource mapping not found for name: "{metadata.get("name", "")}" namespace: '
            f'"{metadata.get("namespace", "")}" from "{source}": {error}'
        ) from None
    metadata = obj.setdefault("metadata", {})
    if not resource.namespaced:
        return Target(resource, "", metadata.get("name", ""), obj, source)
    own = metadata.get("namespace")
    if own and call.opts.get("namespace") and own != call.opts["namespace"]:
        raise CliError(
            f'the namespace from the provided object "{own}" does not match the namespace "{call.namespace}". You must '
            f"pass '--namespace={own}' to perform this operation."
        )
    metadata["namespace"] = own or call.namespace
    return Target(resource, metadata["namespace"], metadata.get("name", ""), obj, source)


def flatten(obj: Json) -> Iterator[Json]:
    """The items of a List, else the object itself."""
    if "items" in obj and str(obj.get("kind", "")).endswith("List") and isinstance(obj["items"], list):
        kind, version = obj["kind"].removesuffix("List"), obj.get("apiVersion", "v1")
        for item in obj["items"]:
            yield from flatten(item if item.get("kind") or not kind else {"apiVersion": version, "kind": kind, **item})
    else:
        yield obj


def selectors(call: Call) -> dict[str, Any]:
    """The query of a collection's narrowing."""
    return {"labelSelector": call.opts.get("selector"), "fieldSelector": call.opts.get("field-selector")}


def get(call: Call, target: Target) -> Json:
    """The live object. Raises ServerError."""
    found: Json = orjson.loads(call.transport.call("GET", target.path))
    return found


def list_all(call: Call, target: Target, limit: int = 500, **query: Any) -> Json:
    """A whole collection, read in portions of `limit` (0 for one). The items get their kind."""
    narrowed = {**selectors(call), "limit": limit or None, **query}
    whole: Json = {}
    while True:
        page = orjson.loads(call.transport.call("GET", target.path, query=narrowed))
        for item in page.get("items") or ():
            item.setdefault("apiVersion", page.get("apiVersion"))
            item.setdefault("kind", str(page.get("kind", "")).removesuffix("List"))
        if whole:
            whole["items"] += page.get("items") or []
            whole["metadata"] = page.get("metadata") or {}
        else:
            whole = page
            whole["items"] = page.get("items") or []
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return whole
        narrowed["continue"] = token


def infos(call: Call, found: Iterable[Target], errors: list[Exception] | None = None) -> Iterator[Info]:
    """The live objects of the targets, collections flattened. Failures go to `errors`, or are raised without it."""
    for target in found:
        try:
            if target.name:
                obj = get(call, target)
                yield Info(target.resource, target.namespace, target.name, obj, target.source)
                continue
            for item in list_all(call, target)["items"]:
                metadata = item["metadata"]
                yield Info(target.resource, metadata.get("namespace", ""), metadata["name"], item)
        except ServerError as error:
            if errors is None:
                raise
            errors.append(error)


def one(call: Call, args: list[str], default: str) -> Info:
    """The one object that the words name; a name alone is of the type `default`. Raises CliError, ServerError."""
    words = args if len(args) != 1 or "/" in args[0] else [default, args[0]]
    found = targets(call, words)
    if len(found) != 1 or not found[0].name:
        raise CliError(f"expected 1 object, not {len(found)}")
    return next(infos(call, found))
