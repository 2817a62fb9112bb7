"""A profile: the plugins that place the pods of one schedulerName, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.scheduler.fairness import Fairness
from tiphys.scheduler.pipeline import DEFAULT
from tiphys.scheduler.plugin import Plugin

NAME = "default-scheduler"


@dataclass(frozen=True, slots=True)
class Profile:
    """`preempts` tells whether room is made for pods by evicting others, `fairness` whether queues take turns."""

    name: str = NAME
    plugins: tuple[Plugin, ...] = DEFAULT
    preempts: bool = True
    fairness: Fairness | None = None
    # Those that have a say whether a pod is tried, and something to do when it is refused, has got a node, is bound.
    gating: tuple[Plugin, ...] = field(init=False)
    helping: tuple[Plugin, ...] = field(init=False)
    reserving: tuple[Plugin, ...] = field(init=False)
    binding: tuple[Plugin, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gating", _overriding("pre_enqueue", self.plugins))
        object.__setattr__(self, "helping", _overriding("post_filter", self.plugins))
        object.__setattr__(self, "reserving", _overriding("reserve", self.plugins))
        object.__setattr__(self, "binding", _overriding("pre_bind", self.plugins))


def _overriding(method: str, plugins: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
    return tuple(plugin for plugin in plugins if getattr(type(plugin), method) is not getattr(Plugin, method))
