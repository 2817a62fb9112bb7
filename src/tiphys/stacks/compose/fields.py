"""Every field of a service: honoured by a module of this package, ignored as Swarm does, or refused with advice.

Source: https://docs.docker.com/reference/compose-file/services/
"""

from __future__ import annotations

from typing import Any

from tiphys.stacks.problems import Problems

Json = dict[str, Any]

_HONOURED = frozenset(
    [
        "cap_add",
        "cap_drop",
        "command",
        "configs",
        "deploy",
        "dns",
        "dns_opt",
        "dns_search",
        "entrypoint",
        "env_file",
        "environment",
        "expose",
        "extends",
        "extra_hosts",
        "group_add",
        "healthcheck",
        "hostname",
        "image",
        "init",
        "ipc",
        "labels",
        "annotations",
        "network_mode",
        "networks",
        "pid",
        "ports",
        "privileged",
        "profiles",
        "pull_policy",
        "read_only",
        "restart",
        "runtime",
        "scale",
        "secrets",
        "security_opt",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "stop_signal",
        "sysctls",
        "tmpfs",
        "tty",
        "user",
        "volumes",
        "working_dir",
        "cpus",
        "mem_limit",
        "mem_reservation",
        "depends_on",
        "build",
        "logging",
        "ulimits",
    ]
)
# What Swarm ignores as well, or what changes nothing here.
_SILENT = frozenset(["container_name", "links", "external_links", "attach", "platform", "isolation", "develop"])
_WARNED = {
    "cgroup_parent": "the cgroup is the kubelet's; ignored, as Swarm does",
    "oom_score_adj": "the kubelet sets it by the resources: give deploy.resources.reservations",
    "oom_kill_disable": "ignored; give deploy.resources.limits.memory instead",
    "mem_swappiness": "ignored: containers do not swap",
    "memswap_limit": "ignored: containers do not swap",
    "pids_limit": "ignored; the kubelet's podPidsLimit bounds all pods",
    "cpu_shares": "ignored; give deploy.resources.reservations.cpus instead",
    "domainname": "ignored; the name of a pod's domain is the cluster's",
    "mac_address": "ignored; the network plugin chooses it",
    "userns_mode": "ignored; the runtime decides",
    "blkio_config": "ignored; the runtime has no such limits",
}
_REFUSED = {
    "devices": ("a device of the node is not given by its path",
                "deploy.resources.reservations.generic_resources with a device plugin"),
    "device_cgroup_rules": ("there are no such rules", "privileged: true"),
    "volumes_from": ("containers of other services share nothing", "a named volume in both services"),
    "cpuset": ("CPUs are not chosen by number", "the kubelet's cpuManagerPolicy: static, and whole CPUs"),
    "credential_spec": ("Windows containers are not run", "a secret"),
    "provider": ("Compose's providers are not run", "a service of its own"),
    "models": ("Compose's models are not run", "a service that serves the model"),
    "post_start": ("hooks of Compose are not run", "a script in entrypoint"),
    "pre_stop": ("hooks of Compose are not run", "a handler of stop_signal in the program"),
    "uts": ("the node's UTS namespace is not shared", "network_mode: host"),
    "cgroup": ("the cgroup namespace cannot be chosen", "privileged: true"),
}  # fmt: skip
_DEPLOY = frozenset(
    [
        "mode",
        "replicas",
        "labels",
        "update_config",
        "rollback_config",
        "restart_policy",
        "placement",
        "resources",
        "endpoint_mode",
    ]
)
_TOP = frozenset(["version", "name", "services", "networks", "volumes", "configs", "secrets"])


def check_top(content: Json, problems: Problems) -> None:
    for key in content:
        if key == "include":
            problems.refuse(key, "files are not included by a file", "-c once more for each of them")
        elif key not in _TOP and not str(key).startswith("x-"):
            problems.refuse(str(key), "no such field in a Compose file")
    if not content.get("services"):
        problems.refuse("services", "there is no service to run")


def check_service(path: str, service: Json, problems: Problems) -> None:
    for key, value in service.items():
        where = f"{path}.{key}"
        if str(key).startswith("x-") or key in _HONOURED or key in _SILENT:
            continue
        if key in _WARNED:
            problems.warn(where, _WARNED[key])
        elif key in _REFUSED:
            if value:
                problems.refuse(where, *_REFUSED[key])
        else:
            problems.refuse(where, "no such field of a service")
    _check_ignored(path, service, problems)
    deploy = service.get("deploy")
    if deploy is not None and not isinstance(deploy, dict):
        problems.refuse(f"{path}.deploy", "a mapping is expected")
        service["deploy"] = deploy = {}
    for key in deploy or {}:
        if key not in _DEPLOY and not str(key).startswith("x-"):
            problems.refuse(f"{path}.deploy.{key}", "no such field of deploy")


def _check_ignored(path: str, service: Json, problems: Problems) -> None:
    if service.get("build") is not None:
        if service.get("image"):
            problems.warn(f"{path}.build", "ignored, as Swarm does; `tiphys image build DIR -t IMAGE` builds")
        else:
            problems.refuse(
                f"{path}.build", "nothing is built here", "`tiphys image build DIR -t IMAGE` and image: IMAGE"
            )
    elif not service.get("image"):
        problems.refuse(f"{path}.image", "a service needs an image")
    waits = service.get("depends_on")
    if isinstance(waits, dict) and any(
        (one or {}).get("condition", "service_started") != "service_started" for one in waits.values()
    ):
        problems.warn(f"{path}.depends_on", "ignored, as Swarm does: let the program try again")
    if service.get("logging"):
        problems.warn(f"{path}.logging", "ignored: `kubectl logs` reads the runtime's")
    if service.get("ulimits"):
        problems.warn(f"{path}.ulimits", "ignored: an entrypoint can set them by ulimit")
    if service.get("restart") not in (None, "always", "unless-stopped"):
        problems.warn(f"{path}.restart", "ignored, as Swarm does; deploy.restart_policy is what counts")
    if service.get("security_opt"):
        problems.warn(f"{path}.security_opt", "ignored but for no-new-privileges")
    if service.get("runtime"):
        problems.warn(f"{path}.runtime", "taken as the name of a RuntimeClass")
