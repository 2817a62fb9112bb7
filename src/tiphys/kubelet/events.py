"""The events of one pod, and what a container's point to."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.client.events import EventRecorder, reference
from tiphys.kinds.core.pod import Pod


@dataclass(frozen=True, slots=True)
class PodEvents:
    """`type_` is Normal or Warning."""

    recorder: EventRecorder
    pod: Pod

    def pod_event(self, reason: str, message: str, type_: str = "Normal") -> None:
        self._record("", reason, message, type_)

    def container(self, name: str, reason: str, message: str, type_: str = "Normal") -> None:
        spec = self.pod.spec
        lists = (("containers", spec.containers), ("initContainers", spec.init_containers))
        kind = next((kind for kind, items in lists if any(c.name == name for c in items)), "ephemeralContainers")
        self._record(f"spec.{kind}{{{name}}}", reason, message, type_)

    def _record(self, field: str, reason: str, message: str, type_: str) -> None:
        about = reference("v1", "Pod", self.pod.metadata, field_path=field)
        self.recorder.record(about, reason, message, warning=type_ == "Warning")
