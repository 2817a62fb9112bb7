from __future__ import annotations

import pytest
from kubernetes import config

from conformance.marks import upstream
from conformance.rest import Rest

pytestmark = pytest.mark.root


@pytest.fixture
def rest(nodes) -> Rest:
    return Rest(config.new_client_from_config(str(nodes.kubeconfig)))


@upstream("[sig-architecture] Conformance Tests should have at least two untainted nodes [Conformance]")
def test_two_nodes_take_pods(rest):
    def takes_pods(node: dict) -> bool:
        conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        repelling = [t for t in node["spec"].get("taints", ()) if t["effect"] in ("NoSchedule", "NoExecute")]
        return conditions["Ready"] == "True" and not node["spec"].get("unschedulable") and not repelling

    assert len([node for node in rest.ok("GET", "/api/v1/nodes")["items"] if takes_pods(node)]) >= 2
