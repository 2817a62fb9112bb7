"""`debug`: an ephemeral container in a running pod, or a pod on a node with the node's namespaces.

Source: https://kubernetes.io/docs/tasks/debug/debug-application/debug-running-pod/
"""

from __future__ import annotations

import secrets
from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError, ServerError

Json = dict[str, Any]
FLAGS = """
image str  Image of the debugging container.
container,c str  Its name; made up where none is given.
target str  Share the processes of this container.
stdin,i bool  Keep standard input open.
tty,t bool  Give it a terminal.
attach bool  Attach to it once it runs; -i does too.
env list  Variables, as NAME=VALUE.
image-pull-policy str  Always, IfNotPresent or Never.
profile str=general  Kept for scripts.
quiet,q bool  Say less.
"""


def run(call: Call) -> int:
    if not call.args:
        raise CliError("NAME or TYPE/NAME is required for debug")
    if not call.opts["image"]:
        raise CliError("you must specify --image")
    info = builder.one(call, call.args[:1], "pods")
    command = call.args[call.dash :] if call.dash >= 0 else call.args[1:]
    if info.resource.kind == "Node":
        return _on_node(call, info, command)
    if info.resource.kind != "Pod":
        raise CliError(f'"{info.title}" not supported by debug')
    return _in_pod(call, info, command)


def _container(call: Call, name: str, command: list[str]) -> Json:
    opts = call.opts
    made: Json = {
        "name": name, "image": opts["image"], "stdin": opts["stdin"], "tty": opts["tty"],
        "terminationMessagePolicy": "File",
    }  # fmt: skip
    if command:
        made["command"] = command
    if opts["image-pull-policy"]:
        made["imagePullPolicy"] = opts["image-pull-policy"]
    if opts["env"]:
        made["env"] = [dict(zip(("name", "value"), pair.split("=", 1), strict=True)) for pair in opts["env"]]
    return made


def _in_pod(call: Call, info: Info, command: list[str]) -> int:
    name = call.opts["container"] or f"debugger-{_suffix()}"
    if not call.opts["container"] and not call.opts["quiet"]:
        call.say(f"Defaulting debug container name to {name}.")
        call.out.flush()
    made = _container(call, name, command)
    if call.opts["target"]:
        made["targetContainerName"] = call.opts["target"]
    body = {"spec": {"ephemeralContainers": [made]}}
    writes.patch(call, info, body, kind=writes.STRATEGIC, subresource="ephemeralcontainers", manager="kubectl-debug")
    return _attach(call, info, name)


def _on_node(call: Call, node: Info, command: list[str]) -> int:
    name = f"node-debugger-{node.name}-{_suffix()}"
    made = _container(call, call.opts["container"] or "debugger", command)
    made["volumeMounts"] = [{"mountPath": "/host", "name": "host-root"}]
    resource = call.discovery.find("pods")
    pod = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-debug"}},
        "spec": {
            "containers": [made], "hostIPC": True, "hostNetwork": True, "hostPID": True, "nodeName": node.name,
            "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}],
            "volumes": [{"name": "host-root", "hostPath": {"path": "/"}}],
        },
    }  # fmt: skip
    call.say(f"Creating debugging pod {name} with container {made['name']} on node {node.name}.")
    call.out.flush()
    path = resource.path(call.namespace)
    obj = orjson.loads(call.transport.call("POST", path, query=writes.query(call, manager="kubectl-debug"), body=pod))
    return _attach(call, Info(resource, call.namespace, name, obj), made["name"])


def _attach(call: Call, info: Info, container: str) -> int:
    """The container's session; what it wrote, where it has ended before one could begin."""
    if not (call.opts["stdin"] or call.opts["attach"]):
        return 0
    from tiphys.cli.verbs.exec import attach

    if "running" in _started(call, info, container):
        call.args, call.opts["container"] = [f"pod/{info.name}"], container
        try:
            return attach(call)
        except (CliError, ServerError) as error:
            # It ended meanwhile, before its status says so.
            call.warn(f"warning: couldn't attach to pod/{info.name}, falling back to streaming logs: {error}")
    path = f"{info.resource.path(info.namespace, info.name)}/log"
    for chunk in call.transport.stream(path, query={"container": container}):
        call.out.write(chunk.decode(errors="replace"))
    return 0


def _started(call: Call, info: Info, container: str) -> Json:
    """The container's state once it runs or has ended. Raises CliError after a minute."""
    query: Json = {"watch": True, "fieldSelector": f"metadata.name={info.name}", "timeoutSeconds": 60}
    for line in call.transport.lines(info.resource.path(info.namespace), query=query):
        status = orjson.loads(line)["object"].get("status") or {}
        for field in ("ephemeralContainerStatuses", "containerStatuses"):
            for item in status.get(field) or ():
                state: Json = item.get("state") or {}
                if item["name"] == container and ("running" in state or "terminated" in state):
                    return state
    raise CliError(f"container {container} of pod {info.name} did not start in time")


def _suffix() -> str:
    return "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))


COMMANDS = {
    "debug": Command(run, "(POD | TYPE/NAME) --image=IMAGE [-- COMMAND [args...]]", FLAGS, """
        kubectl debug web-0 -it --image=busybox
        kubectl debug node/node-1 -it --image=busybox
    """),
}  # fmt: skip
