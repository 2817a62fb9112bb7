"""`get --watch`: a list first, then every change as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from tiphys.cli import builder
from tiphys.cli.builder import Target
from tiphys.cli.command import Call
from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.printers import make
from tiphys.cli.tabs import Columns
from tiphys.cli.verbs.get import TABLE, as_table, fetch_table, printer_for

Json = dict[str, Any]


def watch(call: Call) -> int:
    """Runs until the server ends the watch. Raises CliError for more than one type or name."""
    found = builder.targets(call)
    if len(found) != 1:
        raise CliError("you may only specify a single resource type" if len({t.resource for t in found}) > 1 else
                       "watch is only supported on individual resources and resource collections"
                       f" - {len(found)} resources were found")  # fmt: skip
    target = found[0]
    shape = call.opts["output"].partition("=")[0]
    lay = _tables(call, target) if shape in ("", "wide") else _objects(call)
    accept = TABLE if shape in ("", "wide") else "application/json"
    version = _list(call, target, lay, accept)
    query: Json = {"watch": True, "resourceVersion": version}
    path = target.resource.path(target.namespace)
    if target.name:
        query["fieldSelector"] = f"metadata.name={target.name}"
    else:
        query |= builder.selectors(call)
    call.out.flush()
    for line in call.transport.lines(path, query=query, accept=accept):
        event = orjson.loads(line)
        if event["type"] == "BOOKMARK":
            continue
        if event["type"] == "ERROR":
            raise ServerError(event["object"])
        call.out.write(lay(event["object"], event["type"]))
        call.out.flush()
    return 0


def _list(call: Call, target: Target, lay: Callable[[Json, str], str], accept: str) -> str:
    """Print what is there, unless only changes are asked for; returns the version to watch from."""
    if accept == TABLE:
        listed = fetch_table(call, target)
        # A table of one object has its version in the table's metadata as well.
        items = [listed]
    else:
        listed = builder.get(call, target) if target.name else builder.list_all(call, target)
        items = listed.get("items", [listed])
    if not call.opts["watch-only"]:
        for item in items:
            call.out.write(lay(item, "ADDED"))
    return str((listed.get("metadata") or {}).get("resourceVersion", "0"))


def _tables(call: Call, target: Target) -> Callable[[Json, str], str]:
    printer = printer_for(call, target)
    events = bool(call.opts["output-watch-events"])

    def lay(table: Json, happened: str) -> str:
        if table.get("kind") != "Table" and "columnDefinitions" not in table:
            table = as_table(table)
        if events:
            definitions = table.get("columnDefinitions")
            if definitions:
                table["columnDefinitions"] = [{"name": "Event"}, *definitions]
            for row in table.get("rows") or ():
                row["cells"] = [happened, *row["cells"]]
        return printer.lay(table)

    return lay


def _objects(call: Call) -> Callable[[Json, str], str]:
    kind, _, text = call.opts["output"].partition("=")
    if kind == "custom-columns":
        from tiphys.cli.printers.columns import CustomColumns

        custom = CustomColumns(text)
        layout = Columns()
        titles = [] if call.opts["no-headers"] else [custom.titles]

        def rows(item: Json, happened: str) -> str:
            lines = [*titles, custom.cells(item)]
            titles.clear()
            return layout.lay(lines)

        return rows
    printer = make(call.opts, extra=("wide",))
    if call.opts["output-watch-events"]:
        return lambda item, happened: printer({"object": item, "type": happened})
    return lambda item, happened: printer(item)
