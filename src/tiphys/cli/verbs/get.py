"""`get`: objects as tables, which the server makes, or in any output format; and watching them.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_get/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import builder
from tiphys.cli.builder import Target
from tiphys.cli.command import FILES, OUTPUT, SELECT, Call, Command
from tiphys.cli.errors import CliError, ServerError, raise_all
from tiphys.cli.printers import make
from tiphys.cli.printers.table import TablePrinter
from tiphys.cli.tabs import Columns

Json = dict[str, Any]
TABLE = ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,"
         "application/json")  # fmt: skip
FLAGS = (
    FILES
    + SELECT
    + OUTPUT
    + """
watch,w bool  After listing, watch for changes.
watch-only bool  Watch for changes without listing first.
output-watch-events bool  Print what happened with each object of a watch.
ignore-not-found bool  What is not there is no failure.
show-labels bool  Show all labels in the last column.
label-columns,L list  Labels to show as columns.
show-kind bool  Show the kind before each name.
no-headers bool  No titles.
sort-by str  JSONPath of the field to sort by.
chunk-size int=500  Size of the portions that are asked for.
raw str  Path to GET as it stands.
server-print bool=true  Let the server make the tables.
subresource str  Ask for this subresource, such as status or scale.
"""
)
_NO_TYPE = """You must specify the type of resource to get. \
Use "kubectl api-resources" for a complete list of supported resources.

error: Required resource not specified.
Use "kubectl explain <resource>" for a detailed description of that resource (e.g. kubectl explain pods).
See 'kubectl get -h' for help and examples"""


def run(call: Call) -> int:
    opts = call.opts
    if opts["raw"]:
        for chunk in call.transport.stream(opts["raw"]):
            call.out.write(chunk.decode(errors="replace"))
        return 0
    if not call.args and not opts["filename"] and not opts["kustomize"]:
        raise CliError(_NO_TYPE, plain=True)
    if opts["watch"] or opts["watch-only"]:
        from tiphys.cli.verbs.get_watch import watch

        return watch(call)
    found = builder.targets(call)
    kind = opts["output"].partition("=")[0]
    if kind in ("", "wide"):
        return _tables(call, found)
    if kind.startswith("custom-columns"):
        return _custom_columns(call, found)
    return _whole(call, found)


def _query(call: Call, target: Target) -> dict[str, Any]:
    if target.name:
        return {}
    return {**builder.selectors(call), "limit": 0 if call.opts["sort-by"] else call.opts["chunk-size"]}


def fetch_table(call: Call, target: Target, **query: Any) -> Json:
    """One Table with all the rows of a target, read in portions. A server that makes none sends objects instead."""
    path = target.resource.path(target.namespace, target.name, call.opts.get("subresource") or "")
    asked = {**_query(call, target), **query}
    whole: Json = {}
    while True:
        page = orjson.loads(call.transport.call("GET", path, query=asked, accept=TABLE))
        if page.get("kind") != "Table":
            page = as_table(page)
        if whole:
            whole["rows"] += page.get("rows") or []
        else:
            whole = {**page, "rows": page.get("rows") or []}
        asked["continue"] = (page.get("metadata") or {}).get("continue")
        if not asked["continue"]:
            return whole


def as_table(page: Json) -> Json:
    """A table of names and ages, for what the server makes no table of."""
    from tiphys.cli.times import age

    items = page["items"] if isinstance(page.get("items"), list) else [page]
    columns = [{"name": "Name", "format": "name"}, {"name": "Age"}]
    rows = []
    for item in items:
        metadata = item.get("metadata") or {}
        rows.append({"cells": [metadata.get("name", ""), age(metadata.get("creationTimestamp"))], "object": item})
    return {"columnDefinitions": columns, "rows": rows, "metadata": page.get("metadata")}


def _tables(call: Call, found: list[Target]) -> int:
    errors: list[Exception] = []
    tables: list[tuple[Target, Json]] = []
    whole = {"includeObject": "Object"} if call.opts["sort-by"] else {}
    for target in found:
        try:
            tables.append((target, fetch_table(call, target, **whole)))
        except ServerError as error:
            if not (error.reason == "NotFound" and call.opts["ignore-not-found"]):
                errors.append(error)
    if call.opts["sort-by"]:
        from tiphys.cli.printers.sorting import sort_tables

        sort_tables(tables, call.opts["sort-by"])
    written = _print_tables(call, tables)
    if not written and not errors and not call.opts["ignore-not-found"]:
        scoped = all(target.resource.namespaced for target, _ in tables) and not call.opts["all-namespaces"]
        call.warn(f"No resources found in {call.namespace} namespace." if scoped else "No resources found")
    raise_all(errors)
    return 0


def _print_tables(call: Call, tables: list[tuple[Target, Json]]) -> bool:
    """Neighbouring tables of one resource share their titles. Returns whether anything was printed."""
    several = len({(target.resource.group, target.resource.kind) for target, _ in tables}) > 1
    written = False
    at = 0
    while at < len(tables):
        resource = tables[at][0].resource
        printer = printer_for(call, tables[at][0], with_kind=several)
        merged: Json = {"rows": []}
        while at < len(tables) and tables[at][0].resource is resource:
            merged["columnDefinitions"] = tables[at][1].get("columnDefinitions")
            merged["rows"] += tables[at][1]["rows"]
            at += 1
        text = printer.lay(merged)
        if text and written and not call.opts["no-headers"]:
            call.out.write("\n")
        call.out.write(text)
        written = written or bool(text)
    return written


def printer_for(call: Call, target: Target, *, with_kind: bool = False) -> TablePrinter:
    """The printer of tables of a target's resource."""
    resource = target.resource
    prefix = resource.kind.lower() + (f".{resource.group}" if resource.group else "")
    namespaced = bool(call.opts["all-namespaces"]) and resource.namespaced
    return TablePrinter(call.opts, prefix=prefix if with_kind or call.opts["show-kind"] else "", namespaced=namespaced)


def fetch(call: Call, found: list[Target], errors: list[Exception]) -> list[Json]:
    """The objects, or whole lists, that the targets name."""
    results = []
    for target in found:
        try:
            if not target.name:
                results.append(builder.list_all(call, target, call.opts["chunk-size"]))
            else:
                path = target.resource.path(target.namespace, target.name, call.opts["subresource"])
                results.append(orjson.loads(call.transport.call("GET", path)))
        except ServerError as error:
            if not (error.reason == "NotFound" and call.opts["ignore-not-found"]):
                errors.append(error)
    return results


def gather(found: list[Target], results: list[Json], sort_by: str) -> tuple[list[Json], bool]:
    """All objects, and whether they are one object that was named alone."""
    items: list[Json] = []
    for result in results:
        items += result["items"] if "items" in result and str(result.get("kind", "")).endswith("List") else [result]
    if sort_by:
        from tiphys.cli.printers.sorting import sort_objects

        items = sort_objects(items, sort_by)
    return items, len(found) == 1 and bool(found[0].name)


def _whole(call: Call, found: list[Target]) -> int:
    printer = make(call.opts, extra=("wide",))
    errors: list[Exception] = []
    results = fetch(call, found, errors)
    items, alone = gather(found, results, call.opts["sort-by"])
    if call.opts["output"] == "name":
        for item in items:
            call.out.write(printer(item))
    elif alone:
        if items:
            call.out.write(printer(items[0]))
    elif (results or not errors) and not (call.opts["ignore-not-found"] and not results):
        call.out.write(printer({"apiVersion": "v1", "items": items, "kind": "List",
                                "metadata": {"resourceVersion": ""}}))  # fmt: skip
    raise_all(errors)
    return 0


def _custom_columns(call: Call, found: list[Target]) -> int:
    from tiphys.cli.printers import columns

    kind, _, text = call.opts["output"].partition("=")
    layout = columns.from_file(text) if kind == "custom-columns-file" else columns.CustomColumns(text)
    errors: list[Exception] = []
    items, _ = gather(found, fetch(call, found, errors), call.opts["sort-by"])
    rows = [] if call.opts["no-headers"] else [layout.titles]
    call.out.write(Columns().lay(rows + [layout.cells(item) for item in items]))
    raise_all(errors)
    return 0


COMMANDS = {
    "get": Command(
        run, "(TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE/NAME ...) [flags] [options]", FLAGS,
        """
        kubectl get pods                      # the pods of the namespace
        kubectl get pods -o wide -A           # of all namespaces, with nodes and addresses
        kubectl get deploy,svc -l app=web     # several types, by label
        kubectl get -o json pod web-0         # one object as JSON
        kubectl get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName
        """,
    )
}  # fmt: skip
