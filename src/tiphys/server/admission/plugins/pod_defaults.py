"""DefaultTolerationSeconds, Priority, AlwaysPullImages: what every pod gets from the cluster's settings.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from __future__ import annotations

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_CLASSES = "/registry/scheduling.k8s.io/priorityclasses/"
# For how long pods bear a node that is lost. Upstream's 300 leave a workload short of pods for five minutes; a node
# that was only slow to speak is back within its Lease, before the taint that this counts from.
TOLERATED_SECONDS = 5


class DefaultTolerationSeconds(Plugin):
    """`not_ready` and `unreachable`: what upstream's --default-{not-ready,unreachable}-toleration-seconds say."""

    operations = ("CREATE",)
    resources = (("", "pods"),)

    def __init__(self, not_ready: int = TOLERATED_SECONDS, unreachable: int = TOLERATED_SECONDS) -> None:
        self._seconds = {"node.kubernetes.io/not-ready": not_ready, "node.kubernetes.io/unreachable": unreachable}

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for("", "pods") or attributes.obj is None:
            return
        tolerations = attributes.obj["spec"].setdefault("tolerations", [])
        missing = [
            {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for taint, seconds in self._seconds.items()
            if not any(_covers(toleration, taint) for toleration in tolerations)
        ]
        tolerations.extend(missing)


def _covers(toleration: Json, taint: str) -> bool:
    return toleration.get("key", "") in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")


class Priority(Plugin):
    operations = ("CREATE",)
    resources = (("", "pods"),)

    def __init__(self, cache: Cache) -> None:
        self._classes = cache.of(_CLASSES)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for("", "pods") or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        found = self._class_of(spec, attributes.name)
        value = found["value"] if found else 0
        policy = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"
        for field, wanted in (("priority", value), ("preemptionPolicy", policy)):
            if spec.get(field) not in (None, wanted):
                raise errors.denied(
                    "", "pods", attributes.name,
                    f"the {field} of the pod ({spec[field]}) must not be provided in pod spec; "
                    f"it is {wanted} by its priority class",
                )  # fmt: skip
            spec[field] = wanted

    def _class_of(self, spec: Json, pod: str) -> Json | None:
        name = spec.get("priorityClassName")
        if name:
            entry = self._classes.items.get(_CLASSES + name)
            if entry is None:
                raise errors.denied("", "pods", pod, f"no PriorityClass with name {name} was found")
            return entry.decode()
        defaults = [entry.decode() for entry in self._classes.items.values() if b'"globalDefault":true' in entry.data]
        if not defaults:
            return None
        # Several defaults can only come from a race; the smallest is the harmless one.
        found = min(defaults, key=lambda obj: int(obj["value"]))
        spec["priorityClassName"] = found["metadata"]["name"]
        return found


class AlwaysPullImages(Plugin):
    """Nobody runs an image that somebody else has pulled without the right to pull it."""

    resources = (("", "pods"),)

    async def admit(self, attributes: Attributes) -> None:
        if not attributes.is_of("", "pods") or attributes.subresource not in ("", "ephemeralcontainers"):
            return
        spec = (attributes.obj or {}).get("spec") or {}
        for field in ("containers", "initContainers", "ephemeralContainers"):
            for container in spec.get(field) or ():
                container["imagePullPolicy"] = "Always"
