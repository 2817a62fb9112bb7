"""`stack ls`, `services` and `ps` with docker's columns.

Source: https://docs.docker.com/reference/cli/docker/stack/services/ and .../ps/
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from tiphys.api.time import age
from tiphys.cli import tabs, times
from tiphys.main.front_doors.live import WORKLOADS, Live
from tiphys.main.front_doors.rollout import broken_by
from tiphys.stacks.objects import MODE, PUBLISHED, SERVICE, STACK

Json = dict[str, Any]


def stacks(live: Live) -> str:
    found: Counter[str] = Counter()
    for kind in WORKLOADS:
        for obj in live.list(kind, STACK):
            found[obj["metadata"]["labels"][STACK]] += 1
    return table([["NAME", "SERVICES"], *([name, str(count)] for name, count in sorted(found.items()))])


def services(workloads: list[Json], stack: str, *, quiet: bool = False) -> str:
    if quiet:
        return "".join(f"{_id(obj)}\n" for obj in workloads)
    rows = [["ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"]]
    for obj in sorted(workloads, key=lambda obj: obj["metadata"]["labels"].get(SERVICE, "")):
        metadata = obj["metadata"]
        annotations = metadata.get("annotations") or {}
        image = obj["spec"]["template"]["spec"]["containers"][0]["image"]
        name = f"{stack}_{metadata['labels'].get(SERVICE, metadata['name'])}"
        rows.append([_id(obj), name, annotations.get(MODE, ""), replicas(obj), image, annotations.get(PUBLISHED, "")])
    return table(rows)


def replicas(obj: Json) -> str:
    """Running/wanted."""
    status, spec = obj.get("status") or {}, obj["spec"]
    if obj["kind"] == "Job":
        wanted = spec.get("completions", 1)
        return f"{status.get('active', 0)}/{wanted} ({status.get('succeeded', 0)}/{wanted} completed)"
    if obj["kind"] == "DaemonSet":
        return f"{status.get('numberReady', 0)}/{status.get('desiredNumberScheduled', 0)}"
    return f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"


def tasks(pods: list[Json], *, quiet: bool = False, whole: bool = False) -> str:
    ordered = sorted(pods, key=lambda pod: (pod["metadata"]["labels"].get(SERVICE, ""), pod["metadata"]["name"]))
    if quiet:
        return "".join(f"{_id(pod)}\n" for pod in ordered)
    rows = [["ID", "NAME", "IMAGE", "NODE", "DESIRED STATE", "CURRENT STATE", "ERROR", "PORTS"]]
    for pod in ordered:
        phase = (pod.get("status") or {}).get("phase", "Pending")
        ending = pod["metadata"].get("deletionTimestamp") or phase in ("Succeeded", "Failed")
        container = pod["spec"]["containers"][0]
        hosts = ", ".join(
            f"*:{port['hostPort']}->{port['containerPort']}/{port.get('protocol', 'TCP').lower()}"
            for port in container.get("ports") or () if port.get("hostPort")
        )  # fmt: skip
        why = broken_by(pod)
        rows.append([
            _id(pod), pod["metadata"]["name"], container["image"], pod["spec"].get("nodeName", ""),
            "Shutdown" if ending else "Running", _state(pod, phase),
            why if whole or len(why) < 40 else f"{why[:39]}…", hosts,
        ])  # fmt: skip
    return table(rows)


def _state(pod: Json, phase: str) -> str:
    names = {"Succeeded": "Complete", "Pending": "Pending" if not pod["spec"].get("nodeName") else "Starting"}
    since = (pod.get("status") or {}).get("startTime") or pod["metadata"].get("creationTimestamp")
    ago = age(time.time() - times.seconds(since)) if since else "0s"
    return f"{names.get(phase, phase)} {ago} ago"


def _id(obj: Json) -> str:
    return str(obj["metadata"]["uid"]).replace("-", "")[:12]


def table(rows: list[list[str]]) -> str:
    return "".join(
        f"{line.rstrip()}\n"
        for line in tabs.align("\n".join("\t".join(row) for row in rows), minimum=0, padding=3).split("\n")
    )
