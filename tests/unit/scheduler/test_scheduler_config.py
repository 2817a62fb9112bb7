"""KubeSchedulerConfiguration files, and plugins of other packages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from scheduler_objects import Json, cluster, info, node

from tiphys.scheduler import config
from tiphys.scheduler.config import ConfigError, load
from tiphys.scheduler.fairness import Fairness
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit, strategy
from tiphys.scheduler.profile import Profile

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "write-a-scheduler-plugin.md"


def file(*profiles: Json, **more: Any) -> Json:
    head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    return {**head, "profiles": list(profiles), **more}


def profile(**plugins: Any) -> Profile:
    (made,) = load(file({"plugins": plugins}))
    return made


def names(made: Profile) -> list[str]:
    return [plugin.name for plugin in made.plugins]


def test_an_empty_file_is_the_default() -> None:
    (made,) = load(file())
    assert (made.name, made.preempts, names(made)) == ("default-scheduler", True, [p.name for p in DEFAULT])


def test_only_what_is_named() -> None:
    made = profile(multiPoint={"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit", "weight": 7}]})
    assert names(made) == ["NodeResourcesFit"]
    assert made.plugins[0].weight == 7
    assert not made.preempts


def test_one_point_off() -> None:
    made = profile(score={"disabled": [{"name": "TaintToleration"}]}, filter={"disabled": [{"name": "NodePorts"}]})
    known = {plugin.name: plugin for plugin in made.plugins}
    assert (known["TaintToleration"].filters, known["TaintToleration"].scores) == (True, False)
    assert not known["NodePorts"].filters
    assert all(plugin.filters and plugin.scores for plugin in DEFAULT)


def test_all_scores_off_and_one_on() -> None:
    enabled = [{"name": "NodeAffinity", "weight": 3}]
    made = profile(score={"disabled": [{"name": "*"}], "enabled": enabled})
    assert [(plugin.name, plugin.weight) for plugin in made.plugins if plugin.scores] == [("NodeAffinity", 3)]


def test_without_preemption() -> None:
    assert not profile(postFilter={"disabled": [{"name": "*"}]}).preempts


def test_upstreams_other_plugins_may_be_named() -> None:
    assert names(profile(multiPoint={"disabled": [{"name": "DefaultBinder"}]})) == [p.name for p in DEFAULT]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"apiVersion": "v1"}, "apiVersion and kind must be"),
        (file({}, {}), 'two have the schedulerName "default-scheduler"'),
        (file({"plugins": {"filter": {"enabled": [{"name": "No"}]}}}), 'no plugin is called "No"'),
        (file(extenders=[{}]), "write a plugin instead"),
        (
            file({"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "Best"}}}]}),
            'pluginConfig[NodeResourcesFit].args: scoringStrategy.type: "Best" is not one of',
        ),
    ],
)
def test_mistakes_are_named(data: Json, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(data)


def scored(settings: Json, **allocatable: str) -> float:
    of = cluster(node("a", cpu="4", memory="8Gi", allocatable=allocatable))
    of.place(info("there", cpu="1", memory="2Gi"), "a")
    scores = NodeResourcesFit(strategy(settings)).score(info("p", cpu="1", memory="2Gi"), of)
    assert scores is not None
    return float(scores[of.row("a") or 0])


def test_strategies() -> None:
    shape = [{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]
    ratio = {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}
    assert scored({"type": "LeastAllocated"}) == 50
    assert scored({"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 3}]}) == 50
    assert scored(ratio) == 100


def test_bin_packing_fills_a_node_before_the_next() -> None:
    of = cluster(node("a"), node("b"))
    arguments = {"scoringStrategy": {"type": "MostAllocated"}}
    (made,) = load(file({"pluginConfig": [{"name": "NodeResourcesFit", "args": arguments}], "plugins": {
        "multiPoint": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}}}))  # fmt: skip
    of.place(info("first", cpu="1"), "a")
    assert choose(info("p", cpu="1"), of, made.plugins) == of.row("a")


def test_ignored_resources_are_not_counted() -> None:
    arguments = {"ignoredResourceGroups": ["acme.com"]}
    (made,) = load(file({"pluginConfig": [{"name": "NodeResourcesFit", "args": arguments}]}))
    wants = info("p", containers=[{"name": "c", "resources": {"requests": {"acme.com/x": "1"}}}])
    assert isinstance(choose(wants, cluster(node("a")), made.plugins), int)


@pytest.fixture
def rack_limit(monkeypatch: pytest.MonkeyPatch) -> type[Plugin]:
    """The class of the page, installed."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert code is not None
    assert code[1].count("\n") < 120
    scope: dict[str, Any] = {"__name__": "acme_scheduler"}
    exec(compile(code[1], str(PAGE), "exec"), scope)
    monkeypatch.setattr(config, "installed", lambda: {"RackLimit": scope["RackLimit"]})
    found: type[Plugin] = scope["RackLimit"]
    return found


def test_the_plugin_of_the_page_works(rack_limit: type[Plugin]) -> None:
    (made,) = config.default()
    of = cluster(*(node(name, labels={"acme.com/rack": name[0]}) for name in ("a1", "a2", "b1")))
    of.place(info("x"), "a1")
    assert choose(info("free"), of, made.plugins) == of.row("b1")
    limited = info("p")
    limited.pod.metadata.annotations["acme.com/rack-limit"] = "1"
    assert choose(limited, of, made.plugins) == of.row("b1")
    of.place(info("y"), "b1")
    found = choose(limited, of, made.plugins)
    assert str(found) == "0/3 nodes are available: 3 node(s) were in a rack that holds enough pods."
    assert isinstance(found, Unschedulable)
    assert found.plugins == {"RackLimit"}


def test_the_file_of_the_page_is_understood(rack_limit: type[Plugin]) -> None:
    text = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
    assert text is not None
    first, second = load(yaml.safe_load(text[1]))
    assert (first.name, second.name) == ("default-scheduler", "bin-packing")
    assert "RackLimit" in names(first)
    assert "RackLimit" not in names(second)


FAIR = {"queueSort": {"enabled": [{"name": "DominantResourceFairness"}], "disabled": [{"name": "*"}]}}


def fair(**weights: Any) -> Json:
    arguments = {"name": "DominantResourceFairness", "args": {"weights": weights}}
    return {"plugins": FAIR, "pluginConfig": [arguments]}


def test_queues_take_turns_if_the_file_says_so() -> None:
    (made,) = load(file(fair(batch=2)))
    assert made.fairness == Fairness({"batch": 2.0})
    (made,) = load(file({"plugins": {"queueSort": {"enabled": [{"name": "PrioritySort"}]}}}))
    assert made.fairness is None


@pytest.mark.parametrize(
    ("profiles", "words"),
    [
        ([fair(batch=0)], "weights: batch: must be a number above 0"),
        ([{"plugins": {"queueSort": {"enabled": [{"name": "NodeName"}]}}}], "queueSort.enabled: must be one of"),
        ([fair(), {"schedulerName": "other"}], "all must have the same queueSort"),
    ],
)
def test_a_queue_sort_that_makes_no_sense(profiles: list[Json], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(file(*profiles))
