"""Which requests webhooks and policies are asked about."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.conftest import ADMIN, Api
from tiphys.api.errors import NotFound
from tiphys.kinds.registry import builtin
from tiphys.server.admission.chain import Attributes
from tiphys.server.admission.matching import Criteria, Matching, exempt

REGISTRY = builtin(beta=True)


def attributes(
    group: str, plural: str, *, version: str = "v1", operation: str = "CREATE", subresource: str = "",
    namespace: str = "default", **objects: Any,
) -> Attributes:  # fmt: skip
    requested = REGISTRY.get(group, version, plural)
    assert requested is not None
    obj = objects.get("obj", {"metadata": {"name": "x"}})
    return Attributes(
        operation, requested.hub or requested, "x", namespace if requested.namespaced else "", ADMIN, obj,
        objects.get("old"), subresource, requested=requested,
    )  # fmt: skip


def rule(*resources: str, groups: tuple[str, ...] = ("",), versions: tuple[str, ...] = ("v1",), **more: Any) -> Any:
    return {"operations": ["CREATE"], "apiGroups": groups, "apiVersions": versions, "resources": resources} | more


@pytest.fixture
def matching(api: Api) -> Matching:
    return Matching(REGISTRY, api.assembled.cache)


@pytest.mark.parametrize(
    ("resources", "subresource", "wanted"),
    [
        (["pods"], "", True),
        (["pods"], "status", False),
        (["*"], "", True),
        (["*"], "status", False),
        (["*/*"], "", True),
        (["*/*"], "status", True),
        (["pods/*"], "", True),
        (["pods/*"], "exec", True),
        (["pods/status"], "status", True),
        (["*/status"], "status", True),
        (["services", "pods/exec"], "exec", True),
        (["services/*"], "", False),
    ],
)
def test_a_rule_names_resources_and_subresources(
    matching: Matching, resources: list[str], subresource: str, wanted: bool
) -> None:
    criteria = Criteria.of_webhook({"rules": [rule(*resources)]})
    found = matching.find(criteria, attributes("", "pods", subresource=subresource))
    assert (found is not None) == wanted


@pytest.mark.parametrize(
    ("plural", "scope", "wanted"),
    [
        ("pods", "Namespaced", True),
        ("pods", "Cluster", False),
        ("nodes", "Namespaced", False),
        ("nodes", "Cluster", True),
        ("namespaces", "Namespaced", False),
        ("namespaces", "Cluster", True),
        ("pods", "*", True),
    ],
)
def test_a_rule_has_a_scope(matching: Matching, plural: str, scope: str, wanted: bool) -> None:
    criteria = Criteria.of_webhook({"rules": [rule("*", scope=scope)]})
    assert (matching.find(criteria, attributes("", plural)) is not None) == wanted


def test_without_rules_a_webhook_wants_nothing_and_a_binding_everything(matching: Matching) -> None:
    assert matching.find(Criteria.of_webhook({}), attributes("", "pods")) is None
    assert matching.find(Criteria.of_policy(None), attributes("", "pods")) is not None


def test_an_equivalent_version_is_found_by_the_rule_that_names_it(matching: Matching) -> None:
    stored, other = REGISTRY.get("autoscaling", "v2", "horizontalpodautoscalers"), "v1"
    wants_v2 = rule("horizontalpodautoscalers", groups=("autoscaling",), versions=("v2",))
    request = attributes("autoscaling", "horizontalpodautoscalers", version=other)
    assert matching.find(Criteria.of_webhook({"rules": [wants_v2]}), request) is stored
    assert matching.find(Criteria.of_webhook({"rules": [wants_v2], "matchPolicy": "Exact"}), request) is None
    events = Criteria.of_webhook({"rules": [rule("events", groups=("events.k8s.io",))]})
    found = matching.find(events, attributes("", "events"))
    assert found is not None
    assert found.group == "events.k8s.io"


def test_a_policy_leaves_out_what_it_excludes_and_can_name_objects(matching: Matching) -> None:
    request = attributes("", "pods")
    match = {"resourceRules": [rule("*")], "excludeResourceRules": [rule("pods", resourceNames=["x"])]}
    assert matching.find(Criteria.of_policy(match), request) is None
    match["excludeResourceRules"] = [rule("pods", resourceNames=["y"])]
    assert matching.find(Criteria.of_policy(match), request) is not None


def test_objects_are_selected_by_their_new_or_their_old_labels(matching: Matching) -> None:
    spec = {"rules": [rule("*", operations=["*"])], "objectSelector": {"matchLabels": {"a": "b"}}}
    labelled, plain = {"metadata": {"labels": {"a": "b"}}}, {"metadata": {}}
    criteria = Criteria.of_webhook(spec)
    for obj, old, wanted in (
        (labelled, None, True),
        (plain, labelled, True),
        (None, labelled, True),
        (plain, None, False),
    ):
        assert (matching.find(criteria, attributes("", "pods", obj=obj, old=old)) is not None) == wanted


async def test_namespaces_are_selected_by_their_labels(api: Api, matching: Matching) -> None:
    meta = {"name": "blue", "labels": {"colour": "blue"}}
    await api.ok("POST", "/api/v1/namespaces", {"metadata": meta})
    await api.assembled.cache.fresh()
    criteria = Criteria.of_webhook(
        {"rules": [rule("*", operations=["*"])], "namespaceSelector": {"matchLabels": {"colour": "blue"}}}
    )
    assert matching.find(criteria, attributes("", "pods", namespace="blue")) is not None
    assert matching.find(criteria, attributes("", "pods")) is None
    # Cluster-scoped objects are in no namespace that could be left out; a Namespace is judged by its own labels.
    assert matching.find(criteria, attributes("", "nodes")) is not None
    assert matching.find(criteria, attributes("", "namespaces", obj={"metadata": meta})) is not None
    assert matching.find(criteria, attributes("", "namespaces", obj={"metadata": {"name": "red"}})) is None
    with pytest.raises(NotFound):
        matching.find(criteria, attributes("", "pods", namespace="none"))


def test_admission_configuration_is_exempt() -> None:
    assert exempt(attributes("admissionregistration.k8s.io", "validatingwebhookconfigurations"))
    assert not exempt(attributes("", "pods"))
