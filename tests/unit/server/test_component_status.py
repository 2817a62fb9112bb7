"""`kubectl get componentstatuses`, which upstream deprecated and people type all the same."""

from __future__ import annotations

from tiphys.server import component_status

PATH = "/api/v1/componentstatuses"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


async def test_components_say_whether_they_work(api):
    component_status.install(api.assembled.server, {"scheduler": lambda: "", "etcd-0": lambda: "disk is full"})
    response = await api.respond("GET", PATH)
    assert "v1 ComponentStatus is deprecated" in response.headers["Warning"]
    listed = await api.ok("GET", PATH)
    assert {item["metadata"]["name"]: item["conditions"][0]["status"] for item in listed["items"]} == {
        "etcd-0": "False", "scheduler": "True"
    }  # fmt: skip
    rows = (await api.ok("GET", PATH, accept=TABLE))["rows"]
    cells = [row["cells"][:3] for row in rows]
    assert cells == [["etcd-0", "Unhealthy", "disk is full"], ["scheduler", "Healthy", "ok"]]
    assert (await api.ok("GET", f"{PATH}/scheduler"))["conditions"][0]["message"] == "ok"
    assert (await api("GET", f"{PATH}/none"))[0] == 404
