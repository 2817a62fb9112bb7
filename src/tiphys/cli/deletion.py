"""Deleting an object and waiting until it is gone: by a watch, not by asking again and again."""

from __future__ import annotations

import time
from typing import Any

import orjson

from tiphys.cli.builder import Info, Target
from tiphys.cli.command import Call
from tiphys.cli.errors import CliError, ServerError

Json = dict[str, Any]


def delete(call: Call, target: Target | Info, *, grace: int = -1, propagation: str = "Background") -> Json:
    """DELETE; returns the answer. `grace` -1 leaves the grace period to the object."""
    options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
    if grace >= 0:
        options["gracePeriodSeconds"] = grace
    if call.opts.get("dry-run") and call.dry_run == "server":
        options["dryRun"] = ["All"]
    answer: Json = orjson.loads(call.transport.call("DELETE", target.path, body=options))
    return answer


def delete_and_wait(call: Call, target: Target | Info, *, grace: int = -1) -> None:
    """For replacing an object: nothing happens if it is not there."""
    try:
        delete(call, target, grace=grace)
    except ServerError as error:
        if error.code != 404:
            raise
        return
    wait_gone(call, target, "", 0)


def wait_gone(call: Call, target: Target | Info, uid: str, timeout: float) -> None:
    """Return when there is no object of that name and UID ("" for any). `timeout` 0 is for ever.

    Raises CliError when the time is over.
    """
    deadline = time.monotonic() + timeout if timeout > 0 else None
    path = target.resource.path(target.namespace)
    narrowed = {"fieldSelector": f"metadata.name={target.name}"}
    while True:
        listed = orjson.loads(call.transport.call("GET", path, query=narrowed))
        alive = [item for item in listed.get("items") or () if not uid or item["metadata"].get("uid") == uid]
        if not alive:
            return
        left = 0 if deadline is None else deadline - time.monotonic()
        if deadline is not None and left <= 0:
            raise CliError(f"timed out waiting for the condition on {target.resource.plural}/{target.name}")
        query = {**narrowed, "watch": True, "resourceVersion": listed["metadata"]["resourceVersion"]}
        if deadline is not None:
            query["timeoutSeconds"] = max(1, int(left))
        for line in call.transport.lines(path, query=query):
            if orjson.loads(line)["type"] in ("DELETED", "ERROR"):
                break
