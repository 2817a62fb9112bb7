"""ComponentStatus, deprecated since v1.19 and read only: the server computes it when it is asked for.

Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from tiphys.api.resource import Json
from tiphys.kinds.columns import NAME, column
from tiphys.kinds.declare import declare


def _healthy(obj: Json) -> Json:
    found: list[Json] = [c for c in obj.get("conditions") or () if c.get("type") == "Healthy"]
    return found[0] if found else {}


def _status(obj: Json) -> str:
    return {"True": "Healthy", "False": "Unhealthy"}.get(_healthy(obj).get("status", ""), "Unknown")


COMPONENT_STATUSES = declare(
    group="", version="v1", kind="ComponentStatus", plural="componentstatuses",
    short_names=("cs",), namespaced=False, verbs=("get", "list"), virtual=True,
    columns=(
        NAME, column("Status", _status), column("Message", lambda obj: _healthy(obj).get("message") or ""),
        column("Error", lambda obj: _healthy(obj).get("error") or ""),
    ),
)  # fmt: skip
