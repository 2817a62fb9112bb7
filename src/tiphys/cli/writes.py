"""Writing objects and telling of it: what the verbs that change things share.

A dry run of the client prints what would be sent; a dry run of the server has it do all but store.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli.builder import Info, Target
from tiphys.cli.command import Call
from tiphys.cli.discovery import Resource
from tiphys.cli.errors import ServerError
from tiphys.cli.printers import make

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def show(call: Call, obj: Json, operation: str, *, dry_run: str | None = None) -> None:
    """Print the object in the format of `-o`, or `kind/name OPERATION`."""
    mode = call.dry_run if dry_run is None else dry_run
    operation += {"client": " (dry run)", "server": " (server dry run)"}.get(mode, "")
    printers: dict[str, Any] = call.__dict__.setdefault("_printers", {})
    if operation not in printers:
        # YAML documents are separated, so a call has one printer for all that it prints.
        whole = call.opts.get("output") not in (None, "", "name")
        key = "" if whole else operation
        printers[operation] = printers.setdefault(key, make(call.opts, operation=operation))
    call.out.write(printers[operation](obj))


def query(call: Call, **more: Any) -> Json:
    """The query of a write: dry run, field manager, field validation."""
    validate = {"true": "Strict", "strict": "Strict", "warn": "Warn", "ignore": "Ignore", "false": "Ignore"}
    asked: Json = {"fieldManager": call.opts.get("field-manager") or more.pop("manager", "kubectl"), **more}
    if "validate" in call.opts:
        asked["fieldValidation"] = validate.get(str(call.opts["validate"]).lower(), "Strict")
    if call.dry_run == "server":
        asked["dryRun"] = "All"
    return asked


def create(call: Call, target: Target, *, manager: str = "kubectl-create", verb: str = "creating") -> Json:
    """POST a target's object. Raises ServerError that names the file."""
    path = target.resource.path(target.namespace)
    try:
        return _json(call.transport.call("POST", path, query=query(call, manager=manager), body=target.obj))
    except ServerError as error:
        raise error.when(verb, target.source) from None


def replace(call: Call, target: Target | Info, obj: Json, *, manager: str = "kubectl-replace") -> Json:
    """PUT an object."""
    return _json(call.transport.call("PUT", target.path, query=query(call, manager=manager), body=obj))


def patch(
    call: Call, target: Target | Info, body: Any, *, kind: str = MERGE, subresource: str = "", **more: Any
) -> Json:
    """PATCH an object or one of its subresources; `more` goes into the query."""
    path = target.resource.path(target.namespace, target.name, subresource)
    manager = more.pop("manager", "kubectl-patch")
    return _json(
        call.transport.call("PATCH", path, query=query(call, manager=manager, **more), body=body, content_type=kind)
    )


def best_patch_type(resource: Resource) -> str:
    """Strategic merge for built-in types, plain merge for those of CustomResourceDefinitions."""
    return STRATEGIC if built_in(resource) else MERGE


def built_in(resource: Resource) -> bool:
    """Whether upstream's schemas know the type."""
    from tiphys.api import facts

    return facts.gvk(resource.group, resource.version, resource.kind) is not None


def made(call: Call, obj: Json, *, plural: str = "", save_config: bool = True) -> Json:
    """Create what a generator made, or only print it in a dry run of the client; returns the object."""
    resource = call.discovery.of_kind(obj["apiVersion"], obj["kind"])
    namespace = call.namespace if resource.namespaced else ""
    if namespace and call.opts.get("namespace"):
        obj["metadata"].setdefault("namespace", namespace)
    if call.opts.get("save-config") and save_config:
        obj["metadata"].setdefault("annotations", {})[LAST_APPLIED] = last_applied(obj)
    if call.dry_run != "client":
        obj = create(call, Target(resource, namespace, obj["metadata"].get("name", ""), obj))
    show(call, obj, "created")
    return obj


def last_applied(obj: Json) -> str:
    """The annotation of client-side apply: the object without that annotation, as Go's encoder writes it."""
    from tiphys.cli.printers import to_json

    metadata = {**(obj.get("metadata") or {})}
    metadata["annotations"] = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED
    }
    return to_json({**obj, "metadata": metadata}, None) + "\n"


def _json(content: bytes) -> Json:
    found: Json = orjson.loads(content)
    return found
