"""Discovery: which groups, versions and resources there are, in the legacy and the aggregated form.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from tiphys.api import errors
from tiphys.api.http import JSON, Request, Response
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.api.versions import preference

_AGGREGATED = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SCALE_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Offer:
    """What another server answers for; `resources` are in the aggregated form, `current` if it lives."""

    group: str
    version: str
    priority: int
    resources: Sequence[Json]
    current: bool


class Discovery:
    """Answers are built on first use and thrown away when the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[str, bytes] = {}
        # What the aggregation layer adds; it calls `forget` whenever that changes.
        self.remote: Callable[[], Sequence[Offer]] = lambda: ()
        registry.subscribe(self.forget)

    def forget(self) -> None:
        self._made.clear()

    def answer(self, request: Request) -> Response | None:
        """The document under a discovery path, or None if the path is not one."""
        parts = request.path.strip("/").split("/")
        if parts[0] not in ("api", "apis") or len(parts) > (2 if parts[0] == "api" else 3):
            return None
        self.remote()
        if len(parts) == 1 and _wants_aggregated(request.headers):
            return self._aggregated(parts[0])
        body = self._made.get(request.path)
        if body is None:
            body = self._made[request.path] = orjson.dumps(self._document(parts))
        return Response(200, body)

    def _document(self, parts: list[str]) -> Json:
        match parts:
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
            case ["api", "v1"]:
                return self._resources("", "v1")
            case ["apis"]:
                groups = [self._group(group) for group in self._groups() if group]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["apis", group] if group and group in self._groups():
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["apis", group, version] if version in self._registry.versions(group):
                return self._resources(group, version)
        raise errors.NotFound("the server could not find the requested resource")

    def _group(self, group: str) -> Json:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._versions(group)]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _groups(self) -> list[str]:
        return list(dict.fromkeys([*self._registry.groups(), *(offer.group for offer in self.remote())]))

    def _versions(self, group: str) -> list[str]:
        """Ours first, in order of preference, then those of other servers by their priority."""
        offers = sorted((o for o in self.remote() if o.group == group), key=lambda o: (-o.priority, o.version))
        found = list(dict.fromkeys([*self._registry.versions(group), *(offer.version for offer in offers)]))
        custom = any(resource.structural is not None for resource in self._registry if resource.group == group)
        return sorted(found, key=preference) if custom else found

    def _resources(self, group: str, version: str) -> Json:
        listed: list[Json] = []
        for resource in self._registry:
            if (resource.group, resource.version) == (group, version) and resource.plural:
                listed.append(_entry(resource))
                listed += [_sub_entry(resource, *sub) for sub in _subresources(resource)]
        listed.sort(key=lambda entry: entry["name"])
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}

    def _aggregated(self, root: str) -> Response:
        key = f"aggregated {root}"
        body = self._made.get(key)
        if body is None:
            groups = [g for g in self._groups() if bool(g) == (root == "apis")]
            items = [self._group_discovery(group) for group in groups]
            document = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
            body = self._made[key] = orjson.dumps(document | {"items": items})
        etag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
        return Response(200, body, JSON + _AGGREGATED, {"ETag": etag, "Vary": "Accept", "Cache-Control": "public"})

    def _group_discovery(self, group: str) -> Json:
        versions = []
        offers = {offer.version: offer for offer in self.remote() if offer.group == group}
        for version in self._versions(group):
            offer = offers.get(version)
            if offer is not None:
                freshness = "Current" if offer.current else "Stale"
                versions.append({"version": version, "freshness": freshness, "resources": list(offer.resources)})
                continue
            resources = [
                _discovered(resource)
                for resource in self._registry
                if (resource.group, resource.version) == (group, version)
            ]
            resources.sort(key=lambda entry: entry["resource"])
            versions.append({"version": version, "freshness": "Current", "resources": resources})
        return {"metadata": {"name": group} if group else {}, "versions": versions}


def aggregated(listed: Iterable[Json], group: str, version: str) -> list[Json]:
    """The aggregated form of an APIResourceList's `resources`. A subresource of nothing, as metrics adapters list them,
    gets a parent without a kind, which clients pass over. Source: apiserver, ConvertGroupVersionIntoToDiscovery."""
    found: dict[str, Json] = {}
    for entry in sorted(listed, key=lambda each: str(each["name"])):
        kind = _kind(entry.get("group") or group, entry.get("version") or version, entry["kind"])
        name, _, sub = entry["name"].partition("/")
        scope, verbs = "Namespaced" if entry.get("namespaced") else "Cluster", entry.get("verbs") or []
        if sub:
            nothing = {"resource": name, "responseKind": _kind("", "", ""), "scope": scope, "singularResource": ""}
            parent = found.setdefault(name, nothing | {"verbs": []})
            shown = {"subresource": sub, "responseKind": kind, "verbs": verbs}
            parent.setdefault("subresources", []).append(shown)
            continue
        singular = entry.get("singularName") or entry["kind"].lower()
        found[name] = {"resource": name, "responseKind": kind, "scope": scope, "singularResource": singular}
        found[name] |= {"verbs": verbs, **{key: entry[key] for key in ("shortNames", "categories") if entry.get(key)}}
    return list(found.values())


def _wants_aggregated(headers: Mapping[str, str]) -> bool:
    accept = headers.get("accept", "")
    return any("as=APIGroupDiscoveryList" in choice and "v=v2" in choice.split(";") for choice in accept.split(","))


def _subresources(resource: AnyResource) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    """(name, kind, group, version, verbs) of each subresource."""
    found: list[tuple[str, str, str, str, tuple[str, ...]]] = []
    declared = {sub.name for sub in resource.subresources}
    if resource.status and "status" not in declared:
        found.append(("status", resource.kind, "", "", _SCALE_VERBS))
    if resource.scale is not None and "scale" not in declared:
        found.append(("scale", "Scale", "autoscaling", "v1", _SCALE_VERBS))
    found += [(s.name, s.kind, s.group, s.version, tuple(s.verbs)) for s in resource.subresources]
    return found


def _entry(resource: AnyResource) -> Json:
    entry: Json = {
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": _verbs(resource),
    }  # fmt: skip
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if not resource.virtual:
        digest = hashlib.sha256(f"{resource.group}/{resource.plural}".encode()).digest()
        entry["storageVersionHash"] = base64.b64encode(digest[:8]).decode()
    return entry


def _sub_entry(resource: AnyResource, name: str, kind: str, group: str, version: str, verbs: tuple[str, ...]) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced,
        "kind": kind, "verbs": list(verbs),
    }  # fmt: skip
    if version:
        entry |= {"group": group, "version": version}
    return entry


def _verbs(resource: AnyResource) -> list[str]:
    return [verb for verb in resource.verbs if not resource.terminating or verb not in ("create", "patch", "update")]


def _kind(group: str, version: str, kind: str) -> Json:
    return {"group": group, "version": version, "kind": kind}


def _discovered(resource: AnyResource) -> Json:
    entry: Json = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    subresources = [
        {
            "subresource": name,
            "responseKind": _kind(group or ("" if version else resource.group), version or resource.version, kind),
            "verbs": list(verbs),
        }
        for name, kind, group, version, verbs in _subresources(resource)
    ]
    if subresources:
        entry["subresources"] = subresources
    return entry
