"""A Transport that answers from a table and remembers what it was asked."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli.command import GLOBAL_FLAGS, Call
from tiphys.cli.entry import find_verb, load
from tiphys.cli.errors import ServerError
from tiphys.cli.flags import parse, table

RESOURCES = [
    ("", "v1", "pods", "Pod", True, "pod", ("po",), ("all",)),
    ("", "v1", "services", "Service", True, "service", ("svc",), ("all",)),
    ("", "v1", "configmaps", "ConfigMap", True, "configmap", ("cm",), ()),
    ("", "v1", "nodes", "Node", False, "node", ("no",), ()),
    ("apps", "v1", "deployments", "Deployment", True, "deployment", ("deploy",), ("all",)),
    ("example.com", "v1beta1", "deployments", "Deployment", True, "deployment", (), ()),
]


def discovery(prefix: str) -> dict[str, Any]:
    """An aggregated discovery document of the resources above."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for group, version, plural, kind, namespaced, singular, short, categories in RESOURCES:
        if bool(group) == (prefix == "/apis"):
            groups.setdefault(group, {}).setdefault(version, []).append({
                "resource": plural, "responseKind": {"kind": kind}, "singularResource": singular, "verbs": ["get"],
                "scope": "Namespaced" if namespaced else "Cluster", "shortNames": short, "categories": categories,
            })  # fmt: skip
    items = [
        {"metadata": {"name": group}, "versions": [{"version": v, "resources": r} for v, r in versions.items()]}
        for group, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "items": items}


class FakeTransport:
    url = "https://fake"

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers: dict[str, Any] = {"/api": discovery("/api"), "/apis": discovery("/apis"), **(answers or {})}
        self.asked: list[tuple[str, str, Any]] = []

    def call(self, method: str, path: str, *, query: Any = None, body: Any = None, **kinds: str) -> bytes:
        self.asked.append((method, path, body if method != "GET" else query))
        if method in ("POST", "PUT", "PATCH"):
            return orjson.dumps(self.answers.get(f"{method} {path}", body))
        if path not in self.answers:
            raise ServerError({"reason": "NotFound", "message": f'"{path}" not found'}, 404)
        return orjson.dumps(self.answers[path])


def call(words: list[str], tmp_path: Any, answers: dict[str, Any] | None = None) -> tuple[Call, FakeTransport]:
    """A Call as the entry makes it, of a fresh cache and a kubeconfig that is empty."""
    config = tmp_path / "kubeconfig"
    config.write_text("apiVersion: v1\nkind: Config\n")
    verb, rest = find_verb([*words, f"--kubeconfig={config}", f"--cache-dir={tmp_path}"])
    parsed = parse(rest, table(load(verb).flags + GLOBAL_FLAGS))
    transport = FakeTransport(answers)
    return Call(parsed.options, parsed.args, parsed.dash, transport=transport), transport
