"""Workloads for the tests, and waiting for what their controllers say of them."""

from __future__ import annotations

import secrets
from typing import Any

from real_cluster import IMAGE

from conformance.rest import Json, Rest


def template(labels: dict[str, str] | None = None, script: str = "", **spec: Any) -> Json:
    """Of a pod that serves a page, or runs `script` instead."""
    container: Json = {
        "name": "c", "image": IMAGE, "imagePullPolicy": "Never", "env": [{"name": "VERSION", "value": "1"}],
    }  # fmt: skip
    if script:
        container["command"] = ["sh", "-c", script]
    container |= spec.pop("container", {})
    made: Json = {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}}
    if labels:
        made["metadata"] = {"labels": labels}
    return made


def version(value: str) -> Json:
    """A strategic patch that makes another template."""
    container = {"name": "c", "env": [{"name": "VERSION", "value": value}]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def unique(name: str) -> str:
    return f"{name}-{secrets.token_hex(3)}"


class Kind:
    """One resource in one namespace."""

    def __init__(self, rest: Rest, group: str, plural: str, namespace: str) -> None:
        base = f"/apis/{group}" if group != "v1" else "/api/v1"
        self.rest, self.path = rest, f"{base}/namespaces/{namespace}/{plural}"

    def create(self, name: str, spec: Json, **meta: Any) -> Json:
        made: Json = self.rest.ok("POST", self.path, {"metadata": {"name": name, **meta}, "spec": spec})
        return made

    def get(self, name: str) -> Json:
        found: Json = self.rest.ok("GET", f"{self.path}/{name}")
        return found

    def list(self, selector: str = "") -> list[Json]:
        found: list[Json] = self.rest.ok("GET", self.path, labelSelector=selector)["items"]
        return found

    def strategic(self, name: str, patch: Json) -> Json:
        media = "application/strategic-merge-patch+json"
        made: Json = self.rest.ok("PATCH", f"{self.path}/{name}", patch, media=media)
        return made

    def merge(self, name: str, patch: Json, part: str = "") -> Json:
        made: Json = self.rest.merge(f"{self.path}/{name}{part}", patch)
        return made

    def delete(self, name: str, policy: str = "Background", **options: Any) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy, **options}
        self.rest.ok("DELETE", f"{self.path}/{name}", body)

    def gone(self, name: str) -> None:
        self.rest.until(f"{self.path}/{name}", lambda answer: answer.code == 404)

    def until(self, name: str, seconds: float = 40, **status: Any) -> Json:
        """The object once its controller has seen it and its status says all this; missing counts are 0."""

        def says(answer: Any) -> bool:
            meta, held = answer.body["metadata"], answer.body.get("status", {})
            fresh = held.get("observedGeneration", meta.get("generation")) == meta.get("generation")
            return fresh and all(held.get(key, 0) == value for key, value in status.items())

        found: Json = self.rest.until(f"{self.path}/{name}", says, seconds).body
        return found

    def condition(self, name: str, type_: str, seconds: float = 40) -> Json:
        """The condition once it is true."""

        def holds(answer: Any) -> bool:
            return any(held["type"] == type_ and held["status"] == "True" for held in conditions(answer.body))

        found = self.rest.until(f"{self.path}/{name}", holds, seconds).body
        return next(held for held in conditions(found) if held["type"] == type_)


def conditions(obj: Json) -> list[Json]:
    found: list[Json] = obj.get("status", {}).get("conditions") or []
    return found


def check_status_verbs(kind: Kind, name: str) -> None:
    """Read, replace and patch the status; each change is seen by the next reader."""
    path = f"{kind.path}/{name}/status"
    read = kind.rest.ok("GET", path)
    made = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test"}
    read.setdefault("status", {})["conditions"] = [*conditions(read), made]
    # The controller writes too: a replacement is tried again on a conflict.
    while (answer := kind.rest("PUT", path, read)).code == 409:
        read = kind.rest.ok("GET", path)
        read.setdefault("status", {})["conditions"] = [*conditions(read), made]
    assert answer.code == 200, answer
    assert "StatusUpdate" in [held["type"] for held in conditions(kind.get(name))]
    patched = {"type": "StatusPatched", "status": "True"}
    kind.merge(name, {"status": {"conditions": [patched]}}, "/status")
    seen = kind.rest.watch_until(
        kind.path, lambda _, obj: "StatusPatched" in [held["type"] for held in conditions(obj)],
        fieldSelector=f"metadata.name={name}",
    )  # fmt: skip
    assert seen["metadata"]["name"] == name


def check_collection(kind: Kind, name: str, spec: Json) -> None:
    """List by label across namespaces, then delete the collection."""
    labels = {"collection": name}
    kind.create(name, spec, labels=labels)
    selector = f"collection={name}"
    everywhere = kind.rest.ok("GET", _everywhere(kind.path), labelSelector=selector)["items"]
    assert [found["metadata"]["name"] for found in everywhere] == [name]
    assert [found["metadata"]["name"] for found in kind.list(selector)] == [name]
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    kind.rest.ok("DELETE", kind.path, body, labelSelector=selector)
    kind.rest.until(kind.path, lambda answer: not answer.body["items"], labelSelector=selector)


def _everywhere(path: str) -> str:
    base, _, rest = path.partition("/namespaces/")
    return f"{base}/{rest.partition('/')[2]}"
