"""Upstream's conformance demands, checked on the session's cluster through the official Python client and kubectl."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config
from real_cluster import RealCluster

from conformance.rest import Rest


@pytest.fixture(scope="session")
def rest(cluster: RealCluster) -> Rest:
    return Rest(config.new_client_from_config(str(cluster.kubeconfig)))


@pytest.fixture
def core(rest: Rest) -> client.CoreV1Api:
    return client.CoreV1Api(rest.api)


@pytest.fixture
def crds(rest: Rest) -> Iterator[Any]:
    """`crds(definition)` creates a CustomResourceDefinition, waits until it is established, and removes it at the end."""
    made: list[str] = []

    def create(definition: dict[str, Any]) -> dict[str, Any]:
        answer = rest.ok("POST", CRDS, definition)
        name = answer["metadata"]["name"]
        made.append(name)
        rest.watch_until(CRDS, lambda kind, obj: established(obj), fieldSelector=f"metadata.name={name}")
        return answer

    yield create
    for name in made:
        rest("DELETE", f"{CRDS}/{name}")


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions", ())
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


@pytest.fixture
def group() -> str:
    """An API group that no other test uses."""
    return f"conf-{secrets.token_hex(3)}.example.com"
