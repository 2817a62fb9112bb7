"""ComponentStatus: whether scheduler, controllers and store work, computed when asked. Deprecated, and still asked for.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/component-status-v1/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from tiphys.api import errors
from tiphys.api.http import Response
from tiphys.api.resource import Json
from tiphys.server import output
from tiphys.server.app import ApiServer
from tiphys.server.cache import Entry
from tiphys.server.call import Call
from tiphys.server.heads import PLAIN
from tiphys.store import Record

# By component, what is wrong with it, or nothing.
Checks = Mapping[str, Callable[[], str]]
_WARNING = "v1 ComponentStatus is deprecated in v1.19+"


def install(server: ApiServer, checks: Checks) -> None:
    async def read(call: Call) -> Response:
        call.warnings.append(_WARNING)
        name = call.target.name
        if name and name not in checks:
            raise errors.no_such("", "componentstatuses", name)
        entries = [_entry(call, component, checks[component]()) for component in sorted(checks)]
        if name:
            (entry,) = (entry for entry in entries if entry.name == name)
            return Response(200, output.object_body(call.resource, entry, call.form, call.now))
        return Response(200, await output.list_body(call.resource, entries, {}, call.form, call.now))

    server.extensions.reads["", "componentstatuses"] = read


def _entry(call: Call, name: str, problem: str) -> Entry:
    condition = {"type": "Healthy", "status": "False" if problem else "True", "message": problem or "ok"}
    if problem:
        condition["error"] = problem
    obj: Json = {
        "apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name, "creationTimestamp": None},
        "conditions": [condition],
    }  # fmt: skip
    return Entry(Record(call.resource.key(name), orjson.dumps(obj), 0, 0), PLAIN)
