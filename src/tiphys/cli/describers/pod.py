"""`describe pod`, and the pod templates of workloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.cli.builder import Info
from tiphys.cli.command import Call
from tiphys.cli.describers.text import Text, date, events_of, selector_text
from tiphys.cli.describers.volumes import describe_volumes
from tiphys.cli.times import age

Json = dict[str, Any]
Resolver = Callable[[str], str]
_IDENTITY = (
    ("Priority", "priority"), ("Priority Class Name", "priorityClassName"), ("Runtime Class Name", "runtimeClassName"),
    ("Service Account", "serviceAccountName"),
)  # fmt: skip


def describe(call: Call, info: Info) -> str:
    text, pod = Text(), info.obj
    spec, status = pod["spec"], pod.get("status") or {}
    _identity(text, pod)
    _state(text, pod)
    resolve = _resolver(pod)
    if spec.get("resources"):
        text.line("Resources:")
        text.resources(spec["resources"], 1)
    if spec.get("initContainers"):
        containers(text, "Init Containers", spec["initContainers"], status.get("initContainerStatuses"), resolve)
    containers(text, "Containers", spec.get("containers") or [], status.get("containerStatuses"), resolve)
    if spec.get("ephemeralContainers"):
        found = status.get("ephemeralContainerStatuses")
        containers(text, "Ephemeral Containers", spec["ephemeralContainers"], found, resolve)
    _conditions(text, pod)
    describe_volumes(text, spec.get("volumes") or [], "")
    text.field("QoS Class", status.get("qosClass") or _qos(spec))
    text.labels("Node-Selectors", spec.get("nodeSelector"))
    text.tolerations("Tolerations", spec.get("tolerations"))
    _spread(text, spec.get("topologySpreadConstraints") or [], "")
    text.events(events_of(call, info))
    return text.render()


def _identity(text: Text, pod: Json) -> None:
    spec, status = pod["spec"], pod.get("status") or {}
    text.head(pod)
    for title, key in _IDENTITY:
        if spec.get(key) not in (None, ""):
            text.field(title, spec[key])
    text.field("Node", f"{spec['nodeName']}/{status.get('hostIP', '')}" if spec.get("nodeName") else "<none>")
    if status.get("startTime"):
        text.field("Start Time", date(status["startTime"]))
    text.marks(pod)


def _state(text: Text, pod: Json) -> None:
    metadata, status = pod["metadata"], pod.get("status") or {}
    if metadata.get("deletionTimestamp") and status.get("phase") not in ("Failed", "Succeeded"):
        text.field("Status", f"Terminating (lasts {age(metadata['deletionTimestamp'])})")
        text.field("Termination Grace Period", f"{metadata.get('deletionGracePeriodSeconds', 0)}s")
    else:
        text.field("Status", status.get("phase", ""))
    for title, key in (("Reason", "reason"), ("Message", "message")):
        if status.get(key):
            text.field(title, status[key])
    seccomp = (pod["spec"].get("securityContext") or {}).get("seccompProfile")
    if seccomp:
        text.field("SeccompProfile", seccomp["type"])
        if seccomp["type"] == "Localhost":
            text.field("LocalhostProfile", seccomp.get("localhostProfile"))
    text.field("IP", status.get("podIP", ""))
    addresses = status.get("podIPs") or []
    text.line("IPs:" if addresses else "IPs:\t<none>")
    for address in addresses:
        text.field("IP", address.get("ip", ""), 1)
    text.controller(pod)
    if status.get("nominatedNodeName"):
        text.field("NominatedNodeName", status["nominatedNodeName"])


def _conditions(text: Text, pod: Json) -> None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    gates = pod["spec"].get("readinessGates") or []
    if gates:
        text.line("Readiness Gates:\n  Type\tStatus")
        known = {item["type"]: item["status"] for item in conditions}
        for gate in gates:
            text.line(f"{gate['conditionType']} \t{known.get(gate['conditionType'], '<none>')} ", 1)
    if conditions:
        text.line("Conditions:\n  Type\tStatus")
        for item in conditions:
            text.line(f"{item['type']} \t{item['status']} ", 1)


def template(text: Text, found: Json) -> None:
    """A workload's pod template."""
    metadata, spec = found.get("metadata") or {}, found.get("spec") or {}
    text.line("Pod Template:")
    text.labels("  Labels", metadata.get("labels"))
    if metadata.get("annotations"):
        text.annotations("  Annotations", metadata["annotations"])
    if spec.get("serviceAccountName"):
        text.field("Service Account", spec["serviceAccountName"], 1)
    if spec.get("initContainers"):
        containers(text, "Init Containers", spec["initContainers"], None, None, "  ")
    containers(text, "Containers", spec.get("containers") or [], None, None, "  ")
    describe_volumes(text, spec.get("volumes") or [], "  ")
    _spread(text, spec.get("topologySpreadConstraints") or [], "  ")
    if spec.get("priorityClassName"):
        text.field("Priority Class Name", spec["priorityClassName"], 1)
    text.labels("  Node-Selectors", spec.get("nodeSelector"))
    text.tolerations("  Tolerations", spec.get("tolerations"))


def containers(
    text: Text, title: str, found: list[Json], statuses: list[Json] | None, resolve: Resolver | None, space: str = ""
) -> None:  # fmt: skip
    known = {status["name"]: status for status in statuses or ()}
    text.line(f"{space}{title}:{'' if found else ' <none>'}")
    for container in found:
        status = known.get(container["name"])
        text.line(f"{' ' if space else ''}{container['name']}:", 1)
        _basics(text, container, status)
        for name, key in (("Command", "command"), ("Args", "args")):
            if container.get(key):
                text.line(f"{name}:", 2)
                for word in container[key]:
                    for part in word.split("\n"):
                        text.line(part, 3)
        if status is not None:
            _status(text, status)
        text.resources(container.get("resources"), 2)
        for name, key in (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")):
            if container.get(key):
                text.field(name, probe(container[key]), 2)
        _environment(text, container, resolve)
        _mounts(text, container)


def _basics(text: Text, container: Json, status: Json | None) -> None:
    if status is not None:
        text.field("Container ID", status.get("containerID", ""), 2)
    text.field("Image", container.get("image", ""), 2)
    if status is not None:
        text.field("Image ID", status.get("imageID", ""), 2)
    for title, key in (("Port", "containerPort"), ("Host Port", "hostPort")):
        ports = []
        for port in container.get("ports") or ():
            shown = f"{port.get(key, 0)}/{port.get('protocol', 'TCP')}"
            ports.append(f"{shown} ({port['name']})" if port.get("name") else shown)
        text.field(f"{title}s" if len(ports) > 1 else title, ", ".join(ports) or "<none>", 2)
    seccomp = (container.get("securityContext") or {}).get("seccompProfile")
    if seccomp:
        text.field("SeccompProfile", seccomp["type"], 2)
        if seccomp["type"] == "Localhost":
            text.field("LocalhostProfile", seccomp.get("localhostProfile"), 3)


def _status(text: Text, status: Json) -> None:
    _one_state(text, "State", status.get("state") or {})
    if (status.get("lastState") or {}).get("terminated"):
        _one_state(text, "Last State", status["lastState"])
    text.field("Ready", "True" if status.get("ready") else "False", 2)
    text.field("Restart Count", status.get("restartCount", 0), 2)


def _one_state(text: Text, title: str, state: Json) -> None:
    if "running" in state:
        text.field(title, "Running", 2)
        text.field("Started", date(state["running"].get("startedAt")), 3)
    elif "terminated" in state:
        ended = state["terminated"]
        text.field(title, "Terminated", 2)
        for name, key in (("Reason", "reason"), ("Message", "message")):
            if ended.get(key):
                text.field(name, ended[key], 3)
        text.field("Exit Code", ended.get("exitCode", 0), 3)
        if ended.get("signal"):
            text.field("Signal", ended["signal"], 3)
        text.field("Started", date(ended.get("startedAt")), 3)
        text.field("Finished", date(ended.get("finishedAt")), 3)
    else:
        text.field(title, "Waiting", 2)
        if (state.get("waiting") or {}).get("reason"):
            text.field("Reason", state["waiting"]["reason"], 3)


def probe(found: Json) -> str:
    """A probe in one line."""
    numbers = (
        f"delay={found.get('initialDelaySeconds', 0)}s timeout={found.get('timeoutSeconds', 0)}s "
        f"period={found.get('periodSeconds', 0)}s successThreshold={found.get('successThreshold', 0)} "
        f"failureThreshold={found.get('failureThreshold', 0)}"
    )
    if "exec" in found:
        return f"exec [{' '.join(found['exec'].get('command') or ())}] {numbers}"
    if "httpGet" in found:
        get = found["httpGet"]
        host = get.get("host", "")
        path = get.get("path", "")
        return f"http-get {get.get('scheme', 'HTTP').lower()}://{host}:{get.get('port')}{path} {numbers}"
    if "tcpSocket" in found:
        return f"tcp-socket {found['tcpSocket'].get('host', '')}:{found['tcpSocket'].get('port')} {numbers}"
    if "grpc" in found:
        return f"grpc <pod>:{found['grpc']['port']} {found['grpc'].get('service') or ''} {numbers}"
    return f"unknown {numbers}"


def _environment(text: Text, container: Json, resolve: Resolver | None) -> None:
    if container.get("envFrom"):
        text.line("Environment Variables from:", 2)
    for source in container.get("envFrom") or ():
        kind, key = ("ConfigMap", "configMapRef") if "configMapRef" in source else ("Secret", "secretRef")
        ref = source.get(key) or {}
        prefix = f" with prefix '{source['prefix']}'" if source.get("prefix") else ""
        text.line(f"{ref.get('name', '')}\t{kind}{prefix}\tOptional: {_boolean(ref.get('optional'))}", 3)
    text.line("Environment:" if container.get("env") else "Environment:\t<none>", 2)
    for item in container.get("env") or ():
        source = item.get("valueFrom")
        if not source:
            first, *rest = item.get("value", "").split("\n")
            text.field(item["name"], first, 3)
            for part in rest:
                text.line(f"\t{part}", 3)
        else:
            text.field(item["name"], _value_from(source, container, resolve), 3)


def _value_from(source: Json, container: Json, resolve: Resolver | None) -> str:
    if "fieldRef" in source:
        ref = source["fieldRef"]
        value = resolve(ref["fieldPath"]) if resolve else ""
        return f"{value} ({ref.get('apiVersion', 'v1')}:{ref['fieldPath']})"
    if "resourceFieldRef" in source:
        name = source["resourceFieldRef"]["resource"]
        which, _, what = name.partition(".")
        value = ((container.get("resources") or {}).get(which) or {}).get(what) or "node allocatable"
        return f"{value} ({name})"
    for kind, key, where in (("key", "secretKeyRef", "in secret"), ("key", "configMapKeyRef", "of config map")):
        if key in source:
            ref = source[key]
            optional = _boolean(ref.get("optional"))
            return f"<set to the {kind} '{ref['key']}' {where} '{ref.get('name', '')}'>\tOptional: {optional}"
    return ""


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _resolver(pod: Json) -> Resolver:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    known = {
        "metadata.name": metadata.get("name"), "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"), "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"), "status.hostIP": status.get("hostIP"),
        "status.podIP": status.get("podIP"),
    }  # fmt: skip
    return lambda path: known.get(path) or ""


def _mounts(text: Text, container: Json) -> None:
    mounts = sorted(container.get("volumeMounts") or (), key=lambda mount: str(mount["mountPath"]))
    text.line("Mounts:" if mounts else "Mounts:\t<none>", 2)
    for mount in mounts:
        flags = "ro" if mount.get("readOnly") else "rw"
        flags += f',path="{mount["subPath"]}"' if mount.get("subPath") else ""
        text.line(f"{mount['mountPath']} from {mount['name']} ({flags})", 3)
    if container.get("volumeDevices"):
        text.line("Devices:", 2)
        for device in container["volumeDevices"]:
            text.line(f"{device['devicePath']} from {device['name']}", 3)


def _spread(text: Text, constraints: list[Json], space: str) -> None:
    if not constraints:
        return
    lines = []
    for item in sorted(constraints, key=lambda one: str(one["topologyKey"])):
        chosen = f" for selector {selector_text(item['labelSelector'])}" if item.get("labelSelector") else ""
        lines.append(f"{item['topologyKey']}:{item['whenUnsatisfiable']} when max skew {item['maxSkew']} is exceeded"
                     f"{chosen}")  # fmt: skip
    text.many(f"{space}Topology Spread Constraints", lines)


def _qos(spec: Json) -> str:
    resources = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(item.get("limits") or item.get("requests") for item in resources):
        return "BestEffort"
    return "Burstable"
