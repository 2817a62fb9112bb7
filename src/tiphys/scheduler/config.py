"""KubeSchedulerConfiguration files: profiles, plugins on and off, weights and arguments.

A file of `kubescheduler.config.k8s.io/v1` is taken as upstream's scheduler takes it. What concerns the process and not
the placing (leader election, connections, parallelism) is accepted and has no effect here, where all nodes are scored.
Source: https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec

from tiphys.kinds.core.affinity import NodeAffinity as Affinity
from tiphys.kinds.core.affinity import TopologySpreadConstraint
from tiphys.scheduler.fairness import NAME as FAIRNESS
from tiphys.scheduler.fairness import Fairness
from tiphys.scheduler.pipeline import DEFAULT
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit, strategy
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.profile import NAME, Profile

Json = Mapping[str, Any]
API, KIND, GROUP = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration", "tiphys.scheduler"
_PREEMPTION, _SORT = "DefaultPreemption", "PrioritySort"
# Upstream plugins whose work is done elsewhere here, or not yet: naming them is no mistake.
_ELSEWHERE = frozenset({
    "SchedulingGates", "GangScheduling", _SORT, FAIRNESS, "DefaultBinder", _PREEMPTION,
})  # fmt: skip
_POINTS = {"filter": "filters", "score": "scores"}


class ConfigError(ValueError):
    """The file is not what it should be; the text names the field."""


def installed() -> dict[str, Callable[[], Plugin]]:
    """Plugins of other packages, by the name of their entry point; one that cannot be imported is an error."""
    return {point.name: point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def default() -> tuple[Profile, ...]:
    """Without a file: our plugins, then those that are installed."""
    return (Profile(NAME, (*DEFAULT, *(make() for make in installed().values()))),)


def profiles(path: Path) -> tuple[Profile, ...]:
    """Those of a file, if it is there. Raises ConfigError and OSError."""
    return read(path) if path.exists() else default()


def read(path: Path) -> tuple[Profile, ...]:
    """The profiles of a file, YAML or JSON. Raises ConfigError and OSError."""
    import yaml

    try:
        data = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: not an object")
    return load(data)


def load(data: Json) -> tuple[Profile, ...]:
    """The profiles of a parsed file. Raises ConfigError."""
    if (data.get("apiVersion"), data.get("kind")) != (API, KIND):
        raise ConfigError(f"apiVersion and kind must be {API} and {KIND}")
    if data.get("extenders"):
        raise ConfigError("extenders: not supported; write a plugin instead")
    made = tuple(
        _profile(each, f"profiles[{index}]") for index, each in enumerate(data.get("profiles") or [{}])
    )  # fmt: skip
    names = [profile.name for profile in made]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f'profiles: two have the schedulerName "{name}"')
    if any(profile.fairness != made[0].fairness for profile in made):
        raise ConfigError(
            "profiles: all must have the same queueSort, and the same pluginConfig for it: one queue it is"
        )
    return made


def _profile(data: Json, where: str) -> Profile:
    arguments = {each.get("name", ""): each.get("args") or {} for each in data.get("pluginConfig") or ()}
    known = {plugin.name: plugin for plugin in DEFAULT}
    extra = {name: make() for name, make in installed().items()}
    makers = {**known, **extra}
    for name in arguments:
        _check(name, makers, f"{where}.pluginConfig")
    chosen = _chosen(data.get("plugins") or {}, makers, f"{where}.plugins")
    plugins = []
    for name, settings in chosen.items():
        if name not in makers:
            continue
        plugin = copy.copy(_configured(makers[name], arguments.get(name) or {}, f"{where}.pluginConfig[{name}].args"))
        for attribute, value in settings.items():
            setattr(plugin, attribute, value)
        plugins.append(plugin)
    fairness = _fairness(data, arguments.get(FAIRNESS) or {}, where)
    return Profile(data.get("schedulerName") or NAME, tuple(plugins), _PREEMPTION in chosen, fairness)


def _fairness(data: Json, arguments: Json, where: str) -> Fairness | None:
    """What orders the queue if it is not PrioritySort."""
    enabled = ((data.get("plugins") or {}).get("queueSort") or {}).get("enabled") or ()
    names = [each.get("name", "") for each in enabled] or [_SORT]
    if len(names) > 1 or names[0] not in (_SORT, FAIRNESS):
        raise ConfigError(f"{where}.plugins.queueSort.enabled: must be one of {_SORT} and {FAIRNESS}")
    if names[0] == _SORT:
        return None
    weights = arguments.get("weights") or {}
    for queue, weight in weights.items():
        if not isinstance(weight, int | float) or weight <= 0:
            raise ConfigError(f"{where}.pluginConfig[{FAIRNESS}].args.weights: {queue}: must be a number above 0")
    return Fairness({str(queue): float(weight) for queue, weight in weights.items()})


def _chosen(points: Json, makers: Mapping[str, Plugin], where: str) -> dict[str, dict[str, Any]]:
    """The plugins that are on, in order, with what is changed of each."""
    chosen: dict[str, dict[str, Any]] = {name: {} for name in (*makers, _PREEMPTION)}
    every = points.get("multiPoint") or {}
    for name in _names(every.get("disabled"), makers, f"{where}.multiPoint.disabled", chosen):
        chosen.pop(name, None)
    for each in every.get("enabled") or ():
        name = _check(each.get("name", ""), makers, f"{where}.multiPoint.enabled")
        chosen.setdefault(name, {}).update({"weight": float(each["weight"])} if each.get("weight") else {})
    for point, attribute in _POINTS.items():
        part = points.get(point) or {}
        for name in _names(part.get("disabled"), makers, f"{where}.{point}.disabled", chosen):
            chosen.get(name, {})[attribute] = False
        for each in part.get("enabled") or ():
            name = _check(each.get("name", ""), makers, f"{where}.{point}.enabled")
            other = "scores" if attribute == "filters" else "filters"
            settings = chosen.setdefault(name, {other: False})
            settings[attribute] = True
            if each.get("weight"):
                settings["weight"] = float(each["weight"])
    after = points.get("postFilter") or {}
    if _PREEMPTION in _names(after.get("disabled"), makers, f"{where}.postFilter.disabled", chosen):
        chosen.pop(_PREEMPTION, None)
    if any(each.get("name") == _PREEMPTION for each in after.get("enabled") or ()):
        chosen[_PREEMPTION] = {}
    return chosen


def _names(
    listed: Sequence[Json] | None, makers: Mapping[str, Plugin], where: str, all_: Mapping[str, Any]
) -> list[str]:
    """The named plugins; * names all."""
    found: list[str] = []
    for each in listed or ():
        name = each.get("name", "")
        found += list(all_) if name == "*" else [_check(name, makers, where)]
    return found


def _check(name: str, makers: Mapping[str, Plugin], where: str) -> str:
    if name not in makers and name not in _ELSEWHERE:
        raise ConfigError(f'{where}: no plugin is called "{name}"; there are {", ".join(sorted(makers))}')
    return name


def _configured(plugin: Plugin, arguments: Json, where: str) -> Plugin:
    try:
        if not arguments:
            return plugin
        if isinstance(plugin, NodeResourcesFit):
            return NodeResourcesFit(strategy(arguments.get("scoringStrategy") or {}), frozenset(_ignored(arguments)))
        if isinstance(plugin, InterPodAffinity):
            weight = int(arguments.get("hardPodAffinityWeight", 1))
            return InterPodAffinity(weight, bool(arguments.get("ignorePreferredTermsOfExistingPods")))
        if isinstance(plugin, NodeAffinity):
            return NodeAffinity(msgspec.convert(arguments.get("addedAffinity") or {}, Affinity))
        if isinstance(plugin, PodTopologySpread):
            listed = msgspec.convert(arguments.get("defaultConstraints") or [], list[TopologySpreadConstraint])
            return PodTopologySpread(listed if arguments.get("defaultingType", "System") == "List" else None)
        if hasattr(plugin, "configure"):
            plugin = copy.copy(plugin)
            plugin.configure(arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    return plugin


def _ignored(arguments: Json) -> Iterator[str]:
    """Names of resources that are not counted, and groups of them, which end with a slash."""
    yield from arguments.get("ignoredResources") or ()
    yield from (f"{group}/" for group in arguments.get("ignoredResourceGroups") or ())
