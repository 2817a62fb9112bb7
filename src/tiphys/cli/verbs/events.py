"""`events`: what happened, oldest first."""

from __future__ import annotations

import time
from typing import Any

import orjson

from tiphys.api.time import age, seconds
from tiphys.cli.command import OUTPUT, Call, Command
from tiphys.cli.tabs import align

Json = dict[str, Any]
FLAGS = (
    OUTPUT
    + """
all-namespaces,A bool  In every namespace.
for str  Only of this object, as TYPE/NAME.
types list  Only of these types: Normal, Warning.
watch,w bool  Go on as more happens.
no-headers bool  Print no line of headers.
chunk-size int=500  Accepted, not used.
"""
)


def run(call: Call) -> int:
    path = "/api/v1/events" if call.opts["all-namespaces"] else f"/api/v1/namespaces/{call.namespace}/events"
    query: Json = {"fieldSelector": _narrowed(call)}
    listed = orjson.loads(call.transport.call("GET", path, query=query))
    found = sorted((event for event in listed["items"] if _wanted(call, event)), key=_when)
    if not found and not call.opts["watch"]:
        where = "" if call.opts["all-namespaces"] else f" in {call.namespace} namespace"
        call.warn(f"No events found{where}.")
        return 0
    header = [] if call.opts["no-headers"] else [["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]]
    if call.opts["all-namespaces"] and header:
        header[0].insert(0, "NAMESPACE")
    _print(call, header + [_cells(call, event) for event in found])
    if call.opts["watch"]:
        query |= {"watch": True, "resourceVersion": listed["metadata"]["resourceVersion"]}
        for line in call.transport.lines(path, query=query):
            event = orjson.loads(line)
            if event["type"] in ("ADDED", "MODIFIED") and _wanted(call, event["object"]):
                _print(call, [_cells(call, event["object"])])
    return 0


def _narrowed(call: Call) -> str:
    if not call.opts["for"]:
        return ""
    kind, _, name = call.opts["for"].partition("/")
    resource = call.discovery.find(kind)
    return f"involvedObject.kind={resource.kind},involvedObject.name={name}"


def _wanted(call: Call, event: Json) -> bool:
    return not call.opts["types"] or event.get("type") in call.opts["types"]


def _when(event: Json) -> float:
    stamp = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return seconds(stamp or event["metadata"]["creationTimestamp"])


def _cells(call: Call, event: Json) -> list[str]:
    about = event.get("involvedObject") or {}
    last = age(time.time() - _when(event))
    if event.get("count", 1) > 1 and event.get("firstTimestamp"):
        last = f"{last} (x{event['count']} over {age(time.time() - seconds(event['firstTimestamp']))})"
    head = [event["metadata"]["namespace"]] if call.opts["all-namespaces"] else []
    target = f"{about.get('kind', '')}/{about.get('name', '')}"
    return [*head, last, event.get("type", ""), event.get("reason", ""), target, event.get("message", "").strip()]


def _print(call: Call, rows: list[list[str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in rows)
    call.out.write(align(text, minimum=6, padding=3))
    call.out.flush()


COMMANDS = {"events": Command(run, "[--for TYPE/NAME] [--watch]", FLAGS, "kubectl events --for pod/web-0 --watch")}
