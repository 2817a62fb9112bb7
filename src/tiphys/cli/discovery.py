"""What the server serves: from names as users type them (short, singular, plural, kind, `resource.version.group`) to a
resource's path. The aggregated discovery documents are kept under `~/.kube/cache/tiphys` for six hours, and read again
when a name is not known.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from tiphys.cli.config import cache_directory, load_cache, save_cache
from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.transport import Transport, segment

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_KEPT_SECONDS = 6 * 3600


class Resource(NamedTuple):
    """One resource of one version of one group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As in `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection or of one object; a cluster-scoped resource ignores `namespace`."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            path += f"/namespaces/{segment(namespace)}"
        path += f"/{self.plural}"
        if name:
            path += f"/{segment(name)}"
        return f"{path}/{subresource}" if subresource else path

    def title(self, name: str) -> str:
        """An object as messages name it: `deployment.apps/web`."""
        return f"{self.kind.lower()}{'.' + self.group if self.group else ''}/{name}"


class Discovery:
    """Answers from the cache where it can. Resources are in the server's order of preference."""

    def __init__(self, transport: Transport, cache: str = "") -> None:
        self._transport = transport
        host = re.sub(r"[^A-Za-z0-9.]", "_", transport.url.partition("://")[2])
        self._file = os.path.join(cache or cache_directory(), "discovery", f"{host}.json")
        self._known: list[Resource] | None = None
        self._fresh = False

    def all(self) -> list[Resource]:
        if self._known is None:
            cached = load_cache(self._file)
            if cached is None or time.time() - cached.get("time", 0) > _KEPT_SECONDS:
                return self.refresh()
            self._known = [_from_row(row) for row in cached["resources"]]
        return self._known

    def refresh(self) -> list[Resource]:
        """Ask the server now, whatever is known."""
        found = list(self._fetch("/api")) + list(self._fetch("/apis"))
        # An answer without a single resource is an API server that is not ready; it must not be remembered.
        if found:
            save_cache(self._file, {"time": time.time(), "resources": [list(resource) for resource in found]})
        self._known = found
        self._fresh = True
        return found

    def group_versions(self) -> list[str]:
        """What the server names, also where it lists no resource of it."""
        documents = [orjson.loads(self._transport.call("GET", path)) for path in ("/api", "/apis")]
        return [version for document in documents for version in _group_versions(document)]

    def _fetch(self, path: str) -> Iterable[Resource]:
        try:
            document = orjson.loads(self._transport.call("GET", path, accept=_AGGREGATED))
        except ServerError as error:
            if error.code == 404:
                return
            raise
        if document.get("kind") == "APIGroupDiscoveryList":
            for item in document.get("items") or ():
                group = (item.get("metadata") or {}).get("name", "")
                for version in item.get("versions") or ():
                    yield from _aggregated(group, version["version"], version.get("resources") or ())
            return
        for group_version in _group_versions(document):
            prefix = "/apis" if "/" in group_version else "/api"
            group, _, version = group_version.rpartition("/")
            try:
                listed = orjson.loads(self._transport.call("GET", f"{prefix}/{group_version}"))
            except ServerError:
                continue
            yield from _plain(group, version, listed.get("resources") or ())

    def find(self, text: str) -> Resource:
        """The resource a user means. Raises CliError as kubectl words it."""
        found = self._lookup(text)
        if found is None and not self._fresh:
            self.refresh()
            found = self._lookup(text)
        if found is None:
            raise CliError(f'the server doesn\'t have a resource type "{text.partition(".")[0]}"')
        return found

    def category(self, text: str) -> list[Resource]:
        """What `all` and the like stand for; empty for a name that is no category."""
        found: dict[tuple[str, str], Resource] = {}
        for resource in self.all():
            if text in resource.categories:
                found.setdefault((resource.group, resource.plural), resource)
        return list(found.values())

    def of_kind(self, api_version: str, kind: str) -> Resource:
        """The resource of an object's own words. Raises CliError as kubectl words it."""
        for _ in range(2):
            for resource in self.all():
                if resource.kind == kind and resource.api_version == api_version:
                    return resource
            if self._fresh:
                break
            self.refresh()
        raise CliError(f'no matches for kind "{kind}" in version "{api_version}"\nensure CRDs are installed first')

    def _lookup(self, text: str) -> Resource | None:
        low = text.lower()
        name, _, group = low.partition(".")
        resources = self.all()
        if group:
            first, _, rest = group.partition(".")
            for resource in resources:
                if resource.version == first and resource.group == rest and _named(resource, name):
                    return resource
            for resource in resources:
                if resource.group == group and _named(resource, name):
                    return resource
            for resource in resources:
                if resource.group.startswith(group) and _named(resource, name):
                    return resource
            return None
        for resource in resources:
            if _named(resource, low):
                return resource
        return None


def _named(resource: Resource, name: str) -> bool:
    return (
        name in (resource.plural, resource.singular) or name in resource.short_names or (name == resource.kind.lower())
    )


def _from_row(row: list[Any]) -> Resource:
    return Resource(*row[:6], *(tuple(part) for part in row[6:]))


def _aggregated(group: str, version: str, resources: Iterable[dict[str, Any]]) -> Iterable[Resource]:
    for item in resources:
        if not (item.get("responseKind") or {}).get("kind"):
            continue
        yield Resource(
            group, version, item["resource"], item["responseKind"]["kind"], item.get("scope") == "Namespaced",
            item.get("singularResource") or "", tuple(item.get("shortNames") or ()),
            tuple(item.get("categories") or ()), tuple(item.get("verbs") or ()),
            tuple(sub["subresource"] for sub in item.get("subresources") or ()),
        )  # fmt: skip


def _group_versions(document: dict[str, Any]) -> Iterable[str]:
    if document.get("kind") == "APIVersions":
        yield from document.get("versions") or ()
        return
    for group in document.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("groupVersion")
        named = [version["groupVersion"] for version in group.get("versions") or ()]
        yield from sorted(named, key=lambda version: version != preferred)


def _plain(group: str, version: str, resources: Iterable[dict[str, Any]]) -> Iterable[Resource]:
    listed = list(resources)
    for item in listed:
        if "/" in item["name"]:
            continue
        prefix = item["name"] + "/"
        yield Resource(
            item.get("group") or group, item.get("version") or version, item["name"], item["kind"],
            bool(item.get("namespaced")), item.get("singularName") or "", tuple(item.get("shortNames") or ()),
            tuple(item.get("categories") or ()), tuple(item.get("verbs") or ()),
            tuple(sub["name"].removeprefix(prefix) for sub in listed if sub["name"].startswith(prefix)),
        )  # fmt: skip
