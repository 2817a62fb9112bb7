"""A profile: the plugins that place the pods of one schedulerName, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.scheduler.pipeline import DEFAULT
from tiphys.scheduler.plugin import Plugin

NAME = "default-scheduler"


@dataclass(frozen=True, slots=True)
class Profile:
    """`preempts` tells whether room is made for pods by evicting others."""

    name: str = NAME
    plugins: tuple[Plugin, ...] = DEFAULT
    preempts: bool = True
