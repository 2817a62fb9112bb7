"""/logs/: files and lists of one directory, and nothing outside of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tiphys.kubelet.server import system_logs


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[TestClient]:
    root = tmp_path / "log"
    (root / "apt").mkdir(parents=True)
    (root / "syslog").write_text("one\ntwo\n")
    (root / "apt" / "a&b.log").write_text("apt")
    (root / "again").symlink_to("syslog")
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to("../secret")
    (root / "up").symlink_to("..")
    app = web.Application()
    app.router.add_get("/logs/{path:.*}", partial(system_logs.serve, root=root))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_files_and_lists(logs: TestClient) -> None:
    assert await (await logs.get("/logs/syslog")).text() == "one\ntwo\n"
    assert await (await logs.get("/logs/again")).text() == "one\ntwo\n"
    listed = await (await logs.get("/logs/")).text()
    assert '<a href="apt/">apt/</a>' in listed
    assert '<a href="a%26b.log">a&amp;b.log</a>' in await (await logs.get("/logs/apt")).text()


@pytest.mark.parametrize("path", ["out", "up/secret", "..%2fsecret", "%2fetc%2fpasswd", "none", "a%00b"])
async def test_nothing_from_elsewhere(logs: TestClient, path: str) -> None:
    answer = await logs.get(f"/logs/{path}")
    assert answer.status == 404
    assert "secret" not in await answer.text()
