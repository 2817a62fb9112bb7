"""For how long pods bear a node that is lost, when they do not say so themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.conftest import ADMIN
from tiphys.kinds.registry import builtin
from tiphys.server.admission.chain import Attributes
from tiphys.server.admission.plugins.pod_defaults import DefaultTolerationSeconds

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


async def admitted(plugin: DefaultTolerationSeconds, *tolerations: dict[str, Any]) -> dict[str, Any]:
    """Seconds by taint of a new pod with these tolerations."""
    pods = builtin().get("", "v1", "pods")
    assert pods is not None
    obj = {"metadata": {"name": "x"}, "spec": {"tolerations": list(tolerations)}}
    await plugin.admit(Attributes("CREATE", pods, "x", "default", ADMIN, obj, None, requested=pods))
    return {item.get("key", ""): item.get("tolerationSeconds") for item in obj["spec"]["tolerations"]}  # type: ignore[index, attr-defined]


async def test_pods_leave_a_lost_node_soon() -> None:
    assert await admitted(DefaultTolerationSeconds()) == {NOT_READY: 5, UNREACHABLE: 5}


async def test_upstreams_times_can_be_asked_for() -> None:
    assert await admitted(DefaultTolerationSeconds(300, 200)) == {NOT_READY: 300, UNREACHABLE: 200}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, {"": None}),
        ({"key": NOT_READY, "operator": "Exists"}, {NOT_READY: None, UNREACHABLE: 5}),
        ({"key": UNREACHABLE, "effect": "NoSchedule"}, {UNREACHABLE: 5, NOT_READY: 5}),
    ],
)
async def test_what_the_pod_says_itself_counts(toleration: dict[str, Any], expected: dict[str, Any]) -> None:
    assert await admitted(DefaultTolerationSeconds(), toleration) == expected
