"""What the cache reads of every object, against reading the whole object."""

from __future__ import annotations

import orjson
import pytest

from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.registry import builtin
from tiphys.server.heads import Heads

OBJECTS = {
    PODS: {"spec": {"nodeName": "n", "hostNetwork": True}, "status": {"podIP": "10.0.0.1", "phase": "Running"}},
    NODES: {"spec": {"unschedulable": True}},
    EVENTS: {"involvedObject": {"kind": "Pod", "name": "p"}, "reportingComponent": "kubelet", "source": {}},
}


@pytest.mark.parametrize("resource", [r for r in builtin() if r.hub is None], ids=lambda r: f"{r.plural}.{r.group}")
def test_every_selectable_field_is_what_its_reader_makes_of_the_whole(resource):
    meta = {"name": "x", "namespace": "d", "labels": {"a": "b"}}
    for body in (OBJECTS.get(resource, {}), {}):
        obj = {"metadata": meta, **body}
        heads = Heads(resource.selectable_fields)
        head = heads.read(orjson.dumps(obj))
        assert (head.name, head.namespace, head.labels) == ("x", "d", {"a": "b"})
        assert {name: head.values[place] for name, place in heads.names.items()} == {
            name: read(obj) for name, read in resource.selectable_fields.items()
        }


def test_a_field_that_code_works_out_is_read_from_the_whole():
    heads = Heads({"spec.size": lambda obj: str(obj["spec"]["size"] * 2)})
    head = heads.read(b'{"metadata":{"name":"x"},"spec":{"size":2}}')
    assert head.values == ("4",)
    assert head.labels == {}
