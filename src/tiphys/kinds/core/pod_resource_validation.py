"""Validation of what a pod asks for as a whole, against what its containers do.

Source: upstream's `validatePodResources`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import quantity
from tiphys.api.errors import forbidden, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.resource_validation import check_pod_name, check_requirements


def check_pod_resources(spec: Json, path: str) -> Errors:
    """What the pod asks for as a whole: at least what its containers do."""
    resources, where = spec["resources"], f"{path}.resources"
    if resources.get("claims"):
        yield forbidden(f"{where}.claims", "claims cannot be set for Resources at pod-level")
    yield from check_requirements({**resources, "claims": ()}, where, name_rule=check_pod_name)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, total in _requested(spec).items():
        own = quantity.parse(requests.get(name, "0"))
        if total > own:
            rule = f"must be greater than or equal to aggregate container requests of {total}"
            yield invalid(f"{where}.requests[{name}]", str(own), rule)
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
                rule = f"must be less than or equal to pod limits of {limits[name]}"
                yield invalid(f"{where}.containers[{index}][{name}].limits", amount, rule)


def _requested(spec: Json) -> dict[str, quantity.Quantity]:
    """What the containers request together: the most that runs at once, of those and of each init container."""

    def of(container: Json) -> dict[str, Any]:
        return (container.get("resources") or {}).get("requests") or {}

    running: dict[str, quantity.Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in of(container).items():
            running[name] = running.get(name, quantity.ZERO) + quantity.parse(amount)
    sidecars: dict[str, quantity.Quantity] = {}
    highest: dict[str, quantity.Quantity] = {}
    for container in spec.get("initContainers") or ():
        for name, amount in of(container).items():
            now = sidecars.get(name, quantity.ZERO) + quantity.parse(amount)
            if container.get("restartPolicy") == "Always":
                sidecars[name] = now
            highest[name] = max(highest.get(name, quantity.ZERO), now)
    for name, amount in sidecars.items():
        running[name] = running.get(name, quantity.ZERO) + amount
    return {name: max(running.get(name, quantity.ZERO), highest.get(name, quantity.ZERO)) for name in running | highest}
