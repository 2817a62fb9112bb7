"""Volumes and secrets of an app. An app with persistent volumes is a StatefulSet: each instance keeps its own.

Source: https://mesosphere.github.io/marathon/docs/persistent-volumes.html
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from tiphys.stacks.objects import Facts, digest, dns_name, without_empty
from tiphys.stacks.problems import Problems

Json = dict[str, Any]
_SANDBOX = "/mnt/mesos/sandbox"
KEY = "content"


@dataclass
class Storage:
    """`claims` are templates of a StatefulSet, `secrets` objects that the app uses."""

    volumes: list[Json] = field(default_factory=list)
    mounts: list[Json] = field(default_factory=list)
    claims: list[Json] = field(default_factory=list)
    secrets: dict[str, Json] = field(default_factory=dict)


def storage(path: str, spec: Json, facts: Facts, problems: Problems) -> Storage:
    found = Storage()
    given = (spec.get("container") or {}).get("volumes") or []
    persistent = {str(one.get("containerPath")) for one in given if one.get("persistent")}
    for at, one in enumerate(given):
        where, target = f"{path}container.volumes[{at}]", str(one.get("containerPath") or "")
        place = target if target.startswith("/") else f"{_SANDBOX}/{target}"
        name, mount = f"v{at}", {"mountPath": place, "readOnly": True if one.get("mode") == "RO" else None}
        if one.get("hostPath") in persistent:
            # The second half of a persistent volume: where the container has it.
            inner = next(m for m in found.mounts if m["mountPath"] == f"{_SANDBOX}/{one['hostPath']}")
            inner["mountPath"] = place
            continue
        if one.get("persistent"):
            size = int(one["persistent"].get("size") or 0)
            found.claims.append({
                "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{size}Mi"}}},
            })  # fmt: skip
        elif one.get("secret"):
            secret = secret_of(where, spec, str(one["secret"]), (facts, problems, found))
            found.volumes.append({"name": name, "secret": {"secretName": secret}})
            mount |= {"subPath": KEY, "readOnly": True}
        elif one.get("external"):
            claim = dns_name(str(one["external"].get("name")))
            problems.warn(f"{where}.external", f"is the PersistentVolumeClaim {claim}, which must be in the namespace")
            found.volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
        elif one.get("hostPath"):
            host = str(one["hostPath"])
            if not host.startswith("/"):
                problems.refuse(
                    f"{where}.hostPath", "there is no sandbox to be relative to", "a path from the root, or persistent"
                )
            found.volumes.append({"name": name, "hostPath": {"path": host}})
        else:
            problems.refuse(where, "no kind of volume is given", "hostPath, persistent, external or secret")
            continue
        found.mounts.append(without_empty({"name": name, **mount}))
    return found


def secret_of(path: str, spec: Json, name: str, parts: tuple[Facts, Problems, Storage]) -> str:
    """The Secret that has it: a copy of the one in the namespace `default`, named by its content."""
    facts, problems, into = parts
    source = str(((spec.get("secrets") or {}).get(name) or {}).get("source") or "")
    if not source:
        problems.refuse(path, f"secrets has no {name} with a source", 'secrets: {"NAME": {"source": "PATH"}}')
        return ""
    own = dns_name(source.strip("/"))
    content = facts.external("Secret", own)
    if content is None:
        problems.refuse(
            path,
            f"there is no Secret {own} in the namespace default",
            f"`kubectl create secret generic {own} -n default --from-file={own}=FILE`",
        )
        return ""
    title = f"{own[:50]}-{digest(content)}"
    into.secrets[title] = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": title}, "immutable": True,
        "data": {KEY: base64.b64encode(content).decode()},
    }  # fmt: skip
    return title
