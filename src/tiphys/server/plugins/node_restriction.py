"""NodeRestriction: a kubelet writes its own Node and the pods bound to it, and none other.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from tiphys.api import errors
from tiphys.server.admission import Attributes, Plugin

_NODES, _PREFIX = "system:nodes", "system:node:"


class NodeRestriction(Plugin):
    async def validate(self, attributes: Attributes) -> None:
        user = attributes.user
        if not user.name.startswith(_PREFIX) or _NODES not in user.groups:
            return
        node = user.name[len(_PREFIX) :]
        resource = attributes.resource
        if resource.group or resource.plural not in ("nodes", "pods"):
            return
        if resource.plural == "nodes" and attributes.name != node:
            raise errors.denied(
                "", "nodes", attributes.name, f'node "{node}" is not allowed to modify node "{attributes.name}"'
            )
        if resource.plural == "pods":
            obj = attributes.old or attributes.obj or {}
            on = obj.get("spec", {}).get("nodeName", "")
            mirror = "kubernetes.io/config.mirror" in (obj["metadata"].get("annotations") or {})
            if on != node or (attributes.operation == "CREATE" and not mirror):
                raise errors.denied(
                    "", "pods", attributes.name,
                    f'node "{node}" can only {attributes.operation.lower()} pods with spec.nodeName set to itself',
                )  # fmt: skip
