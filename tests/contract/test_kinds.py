"""What every registered kind promises, found by going through the registry."""

import typing
from typing import Any

import msgspec
import pytest

from tiphys.api import facts
from tiphys.api.errors import FieldError
from tiphys.api.meta import Object
from tiphys.api.resource import ALL_VERBS, ResourceType
from tiphys.api.schema import Schema
from tiphys.kinds.registry import PREVIEW, STABLE, builtin

NOW = 1_700_000_000.0
KINDS = list(builtin(beta=True))

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.api_version}/{kind.kind}")


def minimal(kind: ResourceType[Any]) -> dict[str, Any]:
    meta = {"name": "a", "creationTimestamp": "2023-11-14T22:00:00Z"} | ({"namespace": "x"} if kind.namespaced else {})
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}


@every_kind
def test_its_definition_exists(kind: ResourceType[Any]) -> None:
    assert facts.gvk(kind.group, kind.version, kind.kind) == kind.schema


@every_kind
def test_its_discovery_facts_are_sane(kind: ResourceType[Any]) -> None:
    assert kind.plural == kind.plural.lower()
    assert kind.plural.isalpha()
    assert kind.singular == kind.kind.lower()
    assert kind.list_kind == f"{kind.kind}List"
    assert set(kind.verbs) <= set(ALL_VERBS)
    assert list(kind.verbs) == sorted(kind.verbs)
    assert not (kind.status and kind.virtual)
    assert len({sub.name for sub in kind.subresources}) == len(kind.subresources)
    assert (kind.hub is None) == (kind.to_hub is None) == (kind.from_hub is None)


@every_kind
def test_its_columns_read_any_object(kind: ResourceType[Any]) -> None:
    for obj in (minimal(kind), {}, {"metadata": {}, "spec": {}, "status": {}}):
        for column in kind.columns:
            assert isinstance(column.value(obj, NOW), str | int | bool), column.name


@every_kind
def test_its_columns_show_its_name(kind: ResourceType[Any]) -> None:
    cells = [column.value(minimal(kind), NOW) for column in kind.columns if column.format == "name"]
    assert cells == ["a"]


@every_kind
def test_its_selectable_fields_read_any_object(kind: ResourceType[Any]) -> None:
    for obj in (minimal(kind), {}):
        for read in kind.selectable_fields.values():
            assert isinstance(read(obj), str)


@every_kind
def test_its_strategy_takes_a_minimal_object_and_names_fields(kind: ResourceType[Any]) -> None:
    new = minimal(kind)
    kind.strategy.default(new)
    kind.strategy.prepare(new, None)
    found = list(kind.strategy.validate(new, None))
    assert all(isinstance(error, FieldError) and error.path for error in found)
    assert all(isinstance(warning, str) for warning in kind.strategy.warnings(new, None))
    again = msgspec.json.decode(msgspec.json.encode(new))
    kind.strategy.default(again)
    assert again == new, "defaulting twice changes the object"


@every_kind
def test_an_update_that_changes_nothing_adds_no_error(kind: ResourceType[Any]) -> None:
    old = minimal(kind)
    kind.strategy.default(old)
    kind.strategy.prepare(old, None)
    new = msgspec.json.decode(msgspec.json.encode(old))
    kind.strategy.prepare(new, old)
    assert new == old
    assert len(list(kind.strategy.validate(new, old))) <= len(list(kind.strategy.validate(old, None)))


@every_kind
def test_conversion_there_and_back_loses_nothing(kind: ResourceType[Any]) -> None:
    if kind.hub is None or kind.to_hub is None or kind.from_hub is None:
        return
    obj = minimal(kind)
    hub = kind.to_hub(obj)
    assert hub["apiVersion"] == kind.hub.api_version
    assert kind.from_hub(hub) == obj


@every_kind
def test_its_model_has_fields_of_the_definition(kind: ResourceType[Any]) -> None:
    if kind.model is not Object:
        unknown = sorted(_unknown(kind.model, facts.schema(kind.schema), kind.kind))
        assert not unknown


# Fields of models that stand for several definitions, where not all of those have the field.
SHARED = {
    "Container": {"targetContainerName"},
    "LoadBalancerIngress": {"ipMode"},
    "ReplicaSetStatus": {"terminatingReplicas"},
    "ResourceMetric": {"container"},
    "ResourceRequirements": {"claims"},
    "SecretReference": {"namespace"},
    "TypedReference": {"namespace"},
    "WorkloadCondition": {"lastUpdateTime"},
}


def _unknown(model: type[msgspec.Struct], schema: Schema, path: str) -> typing.Iterator[str]:
    """Fields of `model`, at any depth, that the definition does not have."""
    for field in msgspec.structs.fields(model):
        found = schema.field(field.encode_name)
        if found is None and field.encode_name in SHARED.get(model.__name__, ()):
            continue
        if found is None:
            yield f"{path}.{field.encode_name}"
            continue
        for inner in _models(field.type):
            below = found.items if found.items is not None else found
            yield from _unknown(inner, below, f"{path}.{field.encode_name}")


def _models(annotation: Any) -> list[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def test_stable_kinds_and_those_that_the_scheduler_acts_on_are_served_by_default() -> None:
    early = {kind.plural for kind in builtin() if "beta" in kind.version or "alpha" in kind.version}
    assert early == {kind.plural for kind in PREVIEW}
    assert len(set(STABLE)) == len(STABLE)


def test_no_kind_is_missing() -> None:
    """Every definition with a group, version and kind is registered, or is no resource of its own."""
    parts = {"Scale", "Eviction", "TokenRequest", "APIGroup", "APIVersions", "DeleteOptions", "Status", "WatchEvent"}
    table = facts._table().kinds
    missing = [
        name
        for name in table
        if builtin(beta=True).kind(*name.split("/")) is None
        and not name.endswith("List")
        and "alpha" not in name
        and name.rsplit("/", 1)[1] not in parts
        and not name.startswith("resource.k8s.io/v1beta1/")
    ]
    assert missing == []


def test_the_preferred_version_comes_first() -> None:
    assert builtin().versions("autoscaling") == ["v2", "v1"]
    assert builtin().groups()[:3] == ["", "apiregistration.k8s.io", "apps"]
