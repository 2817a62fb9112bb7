"""Pieces of `describe` that many kinds share: labels, annotations, events, tolerations. The layout is upstream's.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_describe/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.cli import builder
from tiphys.cli.builder import Info, Target
from tiphys.cli.command import Call
from tiphys.cli.errors import ServerError
from tiphys.cli.tabs import align
from tiphys.cli.times import age, rfc1123

Json = dict[str, Any]
_LONGEST = 140
_SKIPPED = ("kubectl.kubernetes.io/last-applied-configuration",)


class Text:
    """Lines whose tabs get aligned in the end; a level indents by two spaces."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def line(self, text: str, level: int = 0) -> None:
        self._parts.append("  " * level + text + "\n")

    def field(self, name: str, value: Any, level: int = 0) -> None:
        self.line(f"{name}:\t{value}", level)

    def many(self, title: str, values: Iterable[str]) -> None:
        """The first value beside the title, the others below it."""
        lines = list(values) or ["<none>"]
        self.line(f"{title}:\t{lines[0]}")
        for value in lines[1:]:
            self.line(f"\t{value}")

    def labels(self, title: str, labels: Mapping[str, str] | None) -> None:
        self.many(title, [f"{key}={value}" for key, value in sorted((labels or {}).items())])

    def annotations(self, title: str, annotations: Mapping[str, str] | None) -> None:
        lines: list[str] = []
        for key, value in sorted((annotations or {}).items()):
            if key in _SKIPPED:
                continue
            value = value.removesuffix("\n")
            if len(key) + len(value) + 2 > _LONGEST or "\n" in value:
                lines.append(f"{key}:")
                lines += [f"  {_short(part)}" for part in value.split("\n")]
            else:
                lines.append(f"{key}: {value}")
        self.many(title, lines)

    def head(self, obj: Json, *, namespace: bool = True) -> None:
        """Name and namespace."""
        self.field("Name", obj["metadata"]["name"])
        if namespace:
            self.field("Namespace", obj["metadata"].get("namespace", ""))

    def marks(self, obj: Json) -> None:
        """Labels and annotations."""
        self.labels("Labels", obj["metadata"].get("labels"))
        self.annotations("Annotations", obj["metadata"].get("annotations"))

    def controller(self, obj: Json) -> None:
        for owner in obj["metadata"].get("ownerReferences") or ():
            if owner.get("controller"):
                self.field("Controlled By", f"{owner['kind']}/{owner['name']}")

    def conditions(self, conditions: list[Json]) -> None:
        """Type, status and reason, as workloads show them."""
        if conditions:
            self.line("Conditions:")
            self.line("Type\tStatus\tReason", 1)
            self.line("----\t------\t------", 1)
            for item in conditions:
                self.line(f"{item['type']} \t{item['status']}\t{item.get('reason', '')}", 1)

    def resources(self, resources: Json | None, level: int) -> None:
        for title, key in (("Limits", "limits"), ("Requests", "requests")):
            amounts = (resources or {}).get(key) or {}
            if amounts:
                self.line(f"{title}:", level)
            for name in sorted(amounts):
                self.field(name, amounts[name], level + 1)

    def tolerations(self, title: str, tolerations: list[Json] | None) -> None:
        self.many(title, map(_toleration, sorted(tolerations or (), key=lambda item: item.get("key", ""))))

    def events(self, found: list[Json] | None) -> None:
        """`found` None shows nothing at all."""
        if found is None:
            return
        if not found:
            self.line("Events:\t<none>")
            return
        self.line("Events:")
        self.line("Type\tReason\tAge\tFrom\tMessage", 1)
        self.line("----\t------\t----\t----\t-------", 1)
        for event in sorted(found, key=lambda item: item.get("lastTimestamp") or item.get("eventTime") or ""):
            source = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
            message = event.get("message", "").strip()
            path = (event.get("involvedObject") or {}).get("fieldPath")
            message = f"{path}: {message}" if path else message
            self.line(f"{event.get('type', '')}\t{event.get('reason', '')}\t{interval(event)}\t{source}\t{message}", 1)

    def raw(self) -> str:
        """The text with its tabs."""
        return "".join(self._parts)

    def render(self) -> str:
        return align("".join(self._parts), minimum=0, padding=2)


def _short(text: str) -> str:
    return text[: _LONGEST - 2] + "..." if len(text) > _LONGEST - 2 else text


def _toleration(item: Json) -> str:
    text: str = item.get("key", "")
    if item.get("value"):
        text += f"={item['value']}"
    if item.get("effect"):
        text += f":{item['effect']}"
    if item.get("operator") == "Exists" and not item.get("value"):
        text += " op=Exists" if text else "op=Exists"
    if item.get("tolerationSeconds") is not None:
        text += f" for {item['tolerationSeconds']}s"
    return text


def interval(event: Json) -> str:
    """When an event was, and how often since when."""
    first = age(event.get("eventTime") or event.get("firstTimestamp"))
    series = event.get("series")
    if series:
        return f"{age(series.get('lastObservedTime'))} (x{series.get('count')} over {first})"
    if (event.get("count") or 0) > 1:
        return f"{age(event.get('lastTimestamp'))} (x{event['count']} over {first})"
    return first


def listed(call: Call, plural: str, namespace: str, **query: Any) -> list[Json]:
    """The objects of a collection; none where they may not be seen or there are none."""
    try:
        resource = call.discovery.find(plural)
        target = Target(resource, namespace, "")
        items: list[Json] = builder.list_all(call, target, **{"labelSelector": None, "fieldSelector": None, **query})[
            "items"
        ]
    except ServerError:
        return []
    return items


def events_of(call: Call, info: Info) -> list[Json] | None:
    """An object's events; None with `--show-events=false`."""
    if not call.opts.get("show-events", True):
        return None
    fields = {
        "involvedObject.name": info.name, "involvedObject.namespace": info.namespace,
        "involvedObject.kind": info.obj.get("kind"), "involvedObject.uid": info.obj["metadata"].get("uid"),
    }  # fmt: skip
    selector = ",".join(f"{key}={value}" for key, value in fields.items() if value)
    return listed(call, "events", info.namespace, fieldSelector=selector)


def selector_text(selector: Json | None) -> str:
    """A LabelSelector in one line."""
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for item in (selector or {}).get("matchExpressions") or ():
        values = ",".join(sorted(item.get("values") or ()))
        operator = item["operator"]
        if operator in ("In", "NotIn"):
            parts.append(f"{item['key']} {operator.lower()} ({values})")
        else:
            parts.append(item["key"] if operator == "Exists" else f"!{item['key']}")
    return ",".join(parts) or "<none>"


def map_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def date(stamp: str | None) -> str:
    """A time as describe shows it; Go's zero time where there is none."""
    return rfc1123(stamp) or "Mon, 01 Jan 0001 00:00:00 +0000"
