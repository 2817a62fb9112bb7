"""`describe` of priority classes."""

from __future__ import annotations

from tiphys.cli.builder import Info
from tiphys.cli.command import Call
from tiphys.cli.describers.text import Text, events_of, map_text


def priority_class(call: Call, info: Info) -> str:
    text, obj = Text(), info.obj
    text.head(obj, namespace=False)
    text.field("Value", obj.get("value", 0))
    text.field("GlobalDefault", "true" if obj.get("globalDefault") else "false")
    text.field("PreemptionPolicy", obj.get("preemptionPolicy", "PreemptLowerPriority"))
    text.field("Description", obj.get("description", ""))
    text.field("Annotations", map_text(obj["metadata"].get("annotations")))
    text.events(events_of(call, info))
    return text.render()
