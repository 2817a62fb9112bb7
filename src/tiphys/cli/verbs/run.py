"""`run`: one pod from an image, perhaps attached to at once.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_run/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import deletion, pods, writes
from tiphys.cli.builder import Info, Target
from tiphys.cli.command import DRY_RUN, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError, Exit, ServerError

Json = dict[str, Any]
FLAGS = (
    DRY_RUN
    + OUTPUT
    + MANAGER
    + """
image str  The container's image.
image-pull-policy str  Always, IfNotPresent or Never.
command bool  What follows -- is the command, not its arguments.
env array  A variable as KEY=VALUE; may repeat.
labels,l str  Labels as KEY=VALUE, separated by commas.
annotations array  An annotation as KEY=VALUE; may repeat.
port str  Port of the container.
expose bool  Make a Service for the port.
restart str=Always  Always, OnFailure or Never.
overrides str  JSON to merge into the pod.
override-type str=merge  merge, json or strategic.
privileged bool  Run as privileged.
rm bool  Delete the pod when the session ends.
attach bool  Attach to the container.
stdin,i bool  Keep standard input open.
tty,t bool  Give the container a terminal.
leave-stdin-open bool  Accepted; input stays open.
quiet,q bool  Print nothing but the container's output.
grace-period int=-1  With --rm: grace period.
pod-running-timeout time=1m0s  How long to wait for the pod to run.
save-config bool  Keep the configuration in the annotation that apply reads.
"""
)


def run(call: Call) -> int:
    opts = call.opts
    before = call.args if call.dash < 0 else call.args[: call.dash]
    if len(before) < 1:
        raise CliError("NAME is required for run")
    if not opts["image"]:
        raise CliError("--image is required")
    attached = opts["attach"] or opts["stdin"]
    if opts["rm"] and not attached:
        raise CliError("--rm should only be used for attached containers")
    if opts["tty"] and not opts["stdin"]:
        raise CliError("-i/--stdin is required for containers with -t/--tty=true")
    pod = _pod(call, before[0])
    made = writes.made(call, pod) if not attached else _made_quietly(call, pod)
    if opts["expose"]:
        _expose(call, made)
    return _attach(call, made) if attached and call.dry_run == "none" else 0


def _made_quietly(call: Call, pod: Json) -> Json:
    resource = call.discovery.of_kind("v1", "Pod")
    return writes.create(call, Target(resource, call.namespace, pod["metadata"]["name"], pod), manager="kubectl-run")


def _pod(call: Call, name: str) -> Json:
    opts = call.opts
    words = call.args[call.dash :] if call.dash >= 0 else call.args[1:]
    container: Json = {"name": name, "image": opts["image"], "resources": {}}
    if words:
        container["command" if opts["command"] else "args"] = words
    if opts["image-pull-policy"]:
        container["imagePullPolicy"] = opts["image-pull-policy"]
    if opts["env"]:
        container["env"] = [_pair(text, "env") for text in opts["env"]]
    if opts["port"]:
        container["ports"] = [{"containerPort": int(opts["port"])}]
    if opts["privileged"]:
        container["securityContext"] = {"privileged": True}
    if opts["stdin"]:
        container |= {"stdin": True, "stdinOnce": not opts["leave-stdin-open"]}
    if opts["tty"]:
        container["tty"] = True
    meta: Json = {"labels": {"run": name}, "name": name}
    if opts["labels"]:
        meta["labels"] = dict(text.partition("=")[::2] for text in opts["labels"].split(","))
    if opts["annotations"]:
        meta["annotations"] = dict(text.partition("=")[::2] for text in opts["annotations"])
    spec = {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": opts["restart"]}
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {}}
    return _overridden(call, pod)


def _pair(text: str, flag: str) -> Json:
    name, equals, value = text.partition("=")
    if not equals:
        raise CliError(f"invalid {flag}: {text}")
    return {"name": name, "value": value}


def _overridden(call: Call, pod: Json) -> Json:
    text = call.opts["overrides"]
    if not text:
        return pod
    try:
        change = orjson.loads(text)
    except ValueError as error:
        raise CliError(f"the overrides are no JSON: {error}") from None
    from tiphys.api import facts, patch, strategic

    kind = call.opts["override-type"]
    if kind == "json":
        found: Json = patch.json_patch(pod, change)
    elif kind == "strategic":
        found = strategic.strategic_patch(facts.schema("io.k8s.api.core.v1.Pod"), pod, change)
    else:
        found = patch.merge_patch(pod, change)
    return found


def _expose(call: Call, pod: Json) -> None:
    if not call.opts["port"]:
        raise CliError("--port must be set when exposing a service")
    port = int(call.opts["port"])
    spec = {"ports": [{"port": port, "protocol": "TCP", "targetPort": port}], "selector": pod["metadata"]["labels"]}
    service: Json = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": pod["metadata"]["name"]}, "spec": spec}
    writes.made(call, service)


def _attach(call: Call, pod: Json) -> int:
    """Wait until the pod runs, or has run; then its session, or what it wrote."""
    from tiphys.cli.verbs import exec as sessions

    info = Info(call.discovery.of_kind("v1", "Pod"), call.namespace, pod["metadata"]["name"], pod)
    try:
        phase, now = _until_started(call, info)
        if phase == "Running":
            call.args, call.dash = [info.name], -1
            call.opts.setdefault("container", "")
            try:
                sessions.attach(call)
            except Exit as end:
                return end.code
            except (CliError, ServerError):
                # It ended before the session began; what it wrote is in its log.
                _log(call, now)
        else:
            _log(call, now)
        return _exit_code(call, info) if call.opts["restart"] == "Never" else 0
    finally:
        if call.opts["rm"]:
            deletion.delete(call, info, grace=call.opts["grace-period"])
            if not call.opts["quiet"]:
                call.say(f'pod "{info.name}" deleted from {call.namespace} namespace')


def _log(call: Call, pod: Json) -> None:
    for chunk in call.transport.stream(pods.path_of(pod, "log")):
        call.out.write(chunk.decode(errors="replace"))


def _until_started(call: Call, info: Info) -> tuple[str, Json]:
    seconds = int(call.opts["pod-running-timeout"])
    query: Json = {"fieldSelector": f"metadata.name={info.name}", "watch": True, "timeoutSeconds": seconds}
    for line in call.transport.lines(info.resource.path(info.namespace), query=query):
        obj = orjson.loads(line)["object"]
        phase = (obj.get("status") or {}).get("phase", "")
        if phase in ("Running", "Succeeded", "Failed"):
            return phase, obj
    raise CliError("timed out waiting for the condition")


def _exit_code(call: Call, info: Info) -> int:
    """The container's exit code once it has ended."""
    query: Json = {"fieldSelector": f"metadata.name={info.name}", "watch": True, "timeoutSeconds": 30}
    for line in call.transport.lines(info.resource.path(info.namespace), query=query):
        for status in (orjson.loads(line)["object"].get("status") or {}).get("containerStatuses") or ():
            ended = status["state"].get("terminated")
            if ended:
                return int(ended["exitCode"])
    return 0


COMMANDS = {
    "run": Command(run, "NAME --image=IMAGE [-- COMMAND [args...]]", FLAGS, """
        kubectl run web --image=nginx --port=80
        kubectl run -it --rm box --image=busybox --restart=Never -- sh
    """),
}  # fmt: skip
