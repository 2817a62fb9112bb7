"""Every field of an app: honoured, answered by Marathon and ignored, honoured differently, or refused with advice.

Source: https://mesosphere.github.io/marathon/api-console/index.html
"""

from __future__ import annotations

from tiphys.stacks.marathon.load import App
from tiphys.stacks.marathon.ports import is_host
from tiphys.stacks.problems import Problems

_HONOURED = frozenset(
    [
        "id",
        "cmd",
        "args",
        "instances",
        "cpus",
        "mem",
        "disk",
        "gpus",
        "container",
        "env",
        "labels",
        "constraints",
        "healthChecks",
        "readinessChecks",
        "upgradeStrategy",
        "taskKillGracePeriodSeconds",
        "dependencies",
        "networks",
        "ports",
        "portDefinitions",
        "requirePorts",
        "unreachableStrategy",
        "secrets",
        "user",
        "resourceLimits",
        "tty",
        "acceptedResourceRoles",
        "fetch",
        "uris",
        "ipAddress",
        "residency",
    ]
)
# What Marathon adds when it is asked for an app.
_ANSWERED = frozenset(
    [
        "version",
        "versionInfo",
        "tasks",
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "deployments",
        "lastTaskFailure",
        "taskStats",
        "readinessCheckResults",
        "$schema",
    ]
)
_WARNED = {
    "backoffSeconds": "ignored: the kubelet restarts after 10 s and up to 5 min",
    "backoffFactor": "ignored: the kubelet's waiting times double",
    "maxLaunchDelaySeconds": "ignored: the kubelet waits 5 min at most",
    "killSelection": "ignored: a Deployment stops the youngest pods first",
    "role": "ignored: give a ResourceQuota to the namespace",
    "executor": "ignored: the kubelet runs the task",
    "executorResources": "ignored: the kubelet runs the task",
    "taskRateLimit": "ignored",
    "checks": "ignored: healthChecks are what counts",
    "check": "ignored: healthChecks are what counts",
}


def check(app: App, problems: Problems) -> None:
    spec, path = app.spec, app.path
    if "containers" in spec:
        problems.refuse(
            f"{path}containers", "pod definitions are not read", "an app for each container, or a Pod for kubectl"
        )
        return
    for key, value in spec.items():
        if key in _WARNED:
            problems.warn(path + key, _WARNED[key])
        elif key == "storeUrls" and value:
            problems.refuse(path + key, "files are not fetched", "an image that has them")
        elif key not in _HONOURED and key not in _ANSWERED and value not in (None, [], {}):
            problems.refuse(path + key, "no such field of an app")
    _check_values(app, problems)
    _check_container(app, problems)


def _check_values(app: App, problems: Problems) -> None:
    spec, path = app.spec, app.path
    for key in ("instances", "cpus", "mem", "disk", "gpus"):
        value = spec.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            problems.refuse(path + key, f"{value!r} is no amount", "a number from 0")
            spec[key] = 0
    if spec.get("cmd") and spec.get("args"):
        problems.refuse(f"{path}args", "an app has cmd or args", "one of them")
    if set(spec.get("acceptedResourceRoles") or ["*"]) - {"*"}:
        problems.refuse(
            f"{path}acceptedResourceRoles",
            "nodes have no roles of resources",
            'constraints: [["LABEL", "IS", "VALUE"]] on a label of the nodes',
        )
    uris = [*(spec.get("uris") or ()), *(one.get("uri", "") for one in spec.get("fetch") or ())]
    for uri in uris:
        if str(uri).endswith((".dockercfg", "docker.tar.gz")):
            problems.warn(
                f"{path}fetch",
                f"{uri} is not fetched: logins of registries are imagePullSecrets of the service account",
            )
        else:
            problems.refuse(f"{path}fetch", f"{uri} is not fetched", "an image that has it, or a secret")
    user = str(spec.get("user") or "")
    if user and not user.isdigit():
        problems.refuse(f"{path}user", f"{user!r} is a name, which only the image could translate", "its number")


def _check_container(app: App, problems: Problems) -> None:
    container = app.spec.get("container") or {}
    docker = container.get("docker") or {}
    if not docker.get("image"):
        problems.refuse(
            f"{app.path}container.docker.image", "every task runs in an image",
            "an image that has what cmd needs, or --image IMAGE for all apps that name none",
        )  # fmt: skip
    for at, one in enumerate(docker.get("parameters") or ()):
        where = f"{app.path}container.docker.parameters[{at}]"
        if one.get("key") in ("log-driver", "log-opt", "label"):
            problems.warn(where, f"{one['key']} is ignored: it is docker's")
        else:
            problems.refuse(
                where,
                f"{one.get('key')} is an option of docker, which is not used",
                "the app's own field, or leave it out",
            )
    if (app.spec.get("networks") or docker.get("network")) and is_host(app.spec):
        text = "with host each task has an address of its own, and listens on $PORT0 of that"
        problems.warn(f"{app.path}networks", text)
