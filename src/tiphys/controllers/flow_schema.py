"""Says of each FlowSchema whether there is the priority level that it names; one without is not used.

Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key, Object
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.controllers.base import Context
from tiphys.controllers.conditions import condition, with_condition
from tiphys.kinds.flowcontrol.flowschema import FLOW_SCHEMAS, FlowSchema
from tiphys.kinds.flowcontrol.prioritylevelconfiguration import PRIORITY_LEVEL_CONFIGURATIONS


class FlowSchemaController:
    name = "flow-schema-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client.of(FLOW_SCHEMAS)
        self._schemas = context.watch(FLOW_SCHEMAS)
        self._schemas.add_index("level", lambda schema: (_level(schema),))
        self._levels = context.watch(PRIORITY_LEVEL_CONFIGURATIONS, self._of_level)

    async def reconcile(self, key: Key) -> None:
        schema = self._schemas.get(key)
        if schema is None:
            return
        new = dangling(_level(schema), there=self._levels.get(_level(schema)) is not None)
        conditions = msgspec.to_builtins(schema.status.conditions)
        held = condition(conditions, new["type"])
        if held is not None and all(held.get(name) == value for name, value in new.items()):
            return
        new["lastTransitionTime"] = rfc3339(self._context.clock.time())
        try:
            status = {"conditions": with_condition(conditions, new)}
            await self._client.patch(schema.metadata, {"status": status}, subresource="status")
        except NotFound:
            return

    def _of_level(self, level: Object) -> Iterable[Key]:
        return [schema.metadata.key for schema in self._schemas.by("level", level.metadata.name)]


def _level(schema: FlowSchema) -> str:
    return schema.spec.priority_level_configuration.name


def dangling(level: str, *, there: bool) -> Json:
    """The condition, without a time."""
    said = "and it exists" if there else "but there is no such object"
    return {
        "type": "Dangling", "status": "False" if there else "True", "reason": "Found" if there else "NotFound",
        "message": f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" {said}',
    }  # fmt: skip
