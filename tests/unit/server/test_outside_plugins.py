"""The page about admission plugins is true: its example, executed, admits and refuses in a real API server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.server.conftest import Api, serving
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.admission.plugins import outside
from tiphys.server.admission.plugins.order import Selected

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "write-an-admission-plugin.md"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(**meta: Any) -> Any:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    return {"metadata": {"name": "web"} | meta, "spec": {"selector": {"matchLabels": labels}, "template": template}}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    code = re.search(r"```python\n(\"\"\".*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    found: dict[str, Any] = {}
    exec(compile(code[1], str(PAGE), "exec", dont_inherit=True), found)
    async with serving(admission=Selected(outside={"Team": found["Team"]})) as api:
        yield api


async def test_the_example_refuses(api: Api) -> None:
    code, answer = await api("POST", DEPLOYMENTS, deployment())
    assert (code, answer["message"]) == (403, 'deployments.apps "web" is forbidden: it needs a label team')


async def test_the_example_changes(api: Api) -> None:
    namespace = await api.ok("GET", "/api/v1/namespaces/default")
    namespace["metadata"]["labels"]["team"] = "red"
    await api.ok("PUT", "/api/v1/namespaces/default", namespace)
    made = await api.ok("POST", DEPLOYMENTS, deployment())
    assert made["metadata"]["labels"] == {"team": "red"}


class Broken(Plugin):
    async def validate(self, attributes: Attributes) -> None:
        if attributes.is_for("", "configmaps"):
            raise KeyError("oops")


async def test_a_plugin_that_fails_is_named() -> None:
    async with serving(admission=Selected(outside={"Broken": lambda lookup: Broken()})) as api:
        code, answer = await api("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "m"}})
        assert code == 500
        assert 'admission plugin "Broken" failed: KeyError' in answer["message"]


async def test_plugins_are_switched_off_by_name() -> None:
    async with serving(admission=Selected(disable=["ServiceAccount"])) as api:
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
        made = await api.ok("POST", "/api/v1/namespaces/default/pods", pod)
        assert "volumes" not in made["spec"]
    with pytest.raises(ValueError, match='no admission plugin "Nonsense"'):
        async with serving(admission=Selected(enable=["Nonsense"])):
            pass


async def test_a_package_brings_plugins_and_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme.py").write_text(
        "from tiphys.api.resource import resource\nfrom tiphys.server.admission.chain import Plugin\n"
        "SHIPS = resource(group='acme.example.com', version='v1', kind='Ship', plural='ships')\n"
        "class Team(Plugin):\n    def __init__(self, lookup): ...\n"
    )
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[tiphys.admission]\nTeam = acme:Team\n[tiphys.resources]\nships = acme:SHIPS\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with serving(admission=Selected(outside=outside.installed())) as api:
        api.assembled.server.registry.update(add=outside.resources())
        ships = "/apis/acme.example.com/v1/namespaces/default/ships"
        await api.ok("POST", ships, {"metadata": {"name": "argo"}, "spec": {"oars": 50}})
        assert (await api.ok("GET", f"{ships}/argo"))["spec"] == {"oars": 50}
