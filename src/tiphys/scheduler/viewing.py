"""Informers tell the views of plugins what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from tiphys.api.resource import ResourceType
from tiphys.client.informer import Informer, Informers
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.plugin import Subject
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.view import View

Happened = Callable[[str, Subject], None]


def feed(
    cluster: Cluster, profiles: Iterable[Profile], informers: Informers, happened: Happened
) -> Iterator[Informer[Any]]:  # fmt: skip
    """Have informers feed the views of plugins, and `happened` be called with their events; those informers."""
    plugins = (each for profile in profiles for each in profile.plugins)
    for kind in dict.fromkeys(kind for each in plugins for kind in each.views):
        view = cluster.view(kind)
        for resource in kind.resources:
            informer = informers.of(resource)
            informer.add_handler(partial(_changed, view, resource, happened))
            yield informer


def _changed(view: View, resource: ResourceType[Any], happened: Happened, old: Any | None, new: Any | None) -> None:
    event = view.changed(resource, old, new)
    if event is not None:
        happened(event, new if new is not None else old)
