"""What does not hold on the machine that a cluster is restored on."""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
import pytest

from tiphys.main.backup.transform import Here, records_for
from tiphys.store import Record

OTHER = {ipaddress.IPv4Network("10.43.0.0/16"): ipaddress.IPv4Network("10.45.0.0/16"),
         ipaddress.IPv4Network("10.42.0.0/16"): ipaddress.IPv4Network("10.44.0.0/16")}  # fmt: skip
POD = "/registry/core/pods/x/p"


def fit(here: Here, key: str, obj: dict[str, Any]) -> tuple[str, Any] | None:
    found = [record for batch in records_for(here, iter([[Record(key, orjson.dumps(obj), 7, 3)]])) for record in batch]
    return (found[0].key, orjson.loads(found[0].value)) if found else None


def pod(node: str, **more: Any) -> dict[str, Any]:
    meta = {"name": "p", **more.pop("metadata", {})}
    return {
        "metadata": meta,
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "qosClass": "Burstable"},
        **more,
    }


HERE = Here({"stays"}, {})
OWNER = {"ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": True}]}


def test_nodes_that_are_gone_go_with_what_stood_for_them():
    for key in ("core/nodes/", "storage.k8s.io/csinodes/"):
        assert fit(HERE, f"/registry/{key}stays", {"metadata": {"name": "stays"}}) is not None
        assert fit(HERE, f"/registry/{key}gone", {"metadata": {"name": "gone"}}) is None
    attachments = "/registry/storage.k8s.io/volumeattachments/a"
    assert fit(HERE, attachments, {"spec": {"nodeName": "gone"}}) is None
    assert fit(HERE, attachments, {"spec": {"nodeName": "stays"}}) is not None


def test_leases_of_the_dead_are_left_out_and_those_of_people_stay():
    leases = "/registry/coordination.k8s.io/leases/"
    assert fit(HERE, f"{leases}kube-node-lease/stays", {}) is None
    assert fit(HERE, f"{leases}kube-system/kube-scheduler", {}) is None
    assert fit(HERE, f"{leases}default/mine", {}) is not None


def test_pods_of_nodes_that_stay_stay():
    assert fit(HERE, POD, pod("stays")) == (POD, pod("stays"))
    assert fit(HERE, POD, {"metadata": {"name": "p"}, "spec": {}}) is not None


@pytest.mark.parametrize(
    "metadata",
    [OWNER, {"deletionTimestamp": "2026-11-20T10:15:00Z"}, {"annotations": {"kubernetes.io/config.mirror": "x"}}],
)
def test_pods_that_come_back_by_themselves_or_were_going_are_left_out(metadata: dict[str, Any]):
    assert fit(HERE, POD, pod("gone", metadata=metadata)) is None


def test_a_bare_pod_is_scheduled_anew():
    found = fit(HERE, POD, pod("gone"))
    assert found is not None
    assert found[1]["spec"] == {}
    assert found[1]["status"] == {"phase": "Pending", "qosClass": "Burstable"}


def test_pods_that_have_ended_stay_as_a_record():
    ended = pod("gone", status={"phase": "Succeeded"}, metadata=OWNER)
    assert fit(HERE, POD, ended) == (POD, ended)


def test_all_nodes_are_kept_where_they_still_run():
    here = Here(None, {})
    assert fit(here, "/registry/core/nodes/elsewhere", {}) is not None
    assert fit(here, POD, pod("elsewhere", metadata=OWNER)) is not None


def test_addresses_keep_their_place_in_another_network():
    here = Here({"stays"}, OTHER)
    service = {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.43.3.7", "clusterIPs": ["10.43.3.7"]}}
    assert fit(here, "/registry/core/services/x/s", service)[1]["spec"] == {
        "clusterIP": "10.45.3.7", "clusterIPs": ["10.45.3.7"],
    }  # fmt: skip
    headless = {"metadata": {"name": "s"}, "spec": {"clusterIP": "None", "clusterIPs": ["None"]}}
    assert fit(here, "/registry/core/services/x/s", headless)[1] == headless
    key, address = fit(here, "/registry/networking.k8s.io/ipaddresses/10.43.3.7", {"metadata": {"name": "10.43.3.7"}})
    assert (key, address["metadata"]["name"]) == ("/registry/networking.k8s.io/ipaddresses/10.45.3.7", "10.45.3.7")
    node = {"metadata": {"name": "stays"}, "spec": {"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24"]}}
    assert fit(here, "/registry/core/nodes/stays", node)[1]["spec"] == {
        "podCIDR": "10.44.1.0/24", "podCIDRs": ["10.44.1.0/24"],
    }  # fmt: skip
