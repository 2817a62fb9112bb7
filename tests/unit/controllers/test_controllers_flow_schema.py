"""Whether a FlowSchema's priority level is there is told in its status."""

from __future__ import annotations

from typing import Any

from tiphys.controllers.flow_schema import FlowSchemaController
from tiphys.kinds.flowcontrol.flowschema import FLOW_SCHEMAS
from tiphys.kinds.flowcontrol.prioritylevelconfiguration import PRIORITY_LEVEL_CONFIGURATIONS


async def test_a_schema_dangles_until_its_level_is_there(cluster: Any) -> None:
    cluster.start(FlowSchemaController)

    async def dangles(name: str) -> str:
        found = (await cluster.get(FLOW_SCHEMAS, name)).get("status", {}).get("conditions", [])
        return next((each["status"] for each in found if each["type"] == "Dangling"), "")

    async def is_(name: str, status: str) -> bool:
        return await dangles(name) == status

    await cluster.until(lambda: is_("global-default", "False"), "a level that is there")
    spec = {"matchingPrecedence": 500, "priorityLevelConfiguration": {"name": "mine"}}
    await cluster.create(FLOW_SCHEMAS, {"metadata": {"name": "mine"}, "spec": spec})
    await cluster.until(lambda: is_("mine", "True"), "no level")
    limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}
    await cluster.create(
        PRIORITY_LEVEL_CONFIGURATIONS, {"metadata": {"name": "mine"}, "spec": {"type": "Limited", "limited": limited}}
    )
    await cluster.until(lambda: is_("mine", "False"), "a level")
    await cluster.delete(PRIORITY_LEVEL_CONFIGURATIONS, "mine")
    await cluster.until(lambda: is_("mine", "True"), "no level any more")
