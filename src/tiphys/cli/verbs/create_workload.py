"""`create deployment|job|cronjob`."""

from __future__ import annotations

from typing import Any

from tiphys.cli import builder, writes
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.create import MAKE, only_name

Json = dict[str, Any]


def container_name(image: str) -> str:
    """A container's name from its image's: what is between the last slash and the tag."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def deployment(call: Call) -> int:
    name, opts = only_name(call), call.opts
    if not opts["image"]:
        raise CliError('required flag(s) "image" not set')
    command = call.args[call.dash :] if call.dash >= 0 else []
    if len(opts["image"]) > 1 and command:
        raise CliError("cannot specify multiple --image options and command")
    containers: list[Json] = [
        {"image": image, "name": container_name(image).replace("_", "-"), "resources": {}} for image in opts["image"]
    ]
    if command:
        containers[0]["command"] = command
    if opts["port"]:
        containers[0]["ports"] = [{"containerPort": opts["port"]}]
    labels = {"app": name}
    writes.made(call, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": labels, "name": name},
        "spec": {
            "replicas": opts["replicas"], "selector": {"matchLabels": labels}, "strategy": {},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
        "status": {},
    })  # fmt: skip
    return 0


def _pod_spec(name: str, image: str, command: list[str], restart: str) -> Json:
    container: Json = {"image": image, "name": name, "resources": {}}
    if command:
        container["command"] = command
    return {"containers": [container], "restartPolicy": restart}


def job(call: Call) -> int:
    name, opts = only_name(call), call.opts
    command = call.args[call.dash :] if call.dash >= 0 else []
    if bool(opts["image"]) == bool(opts["from"]):
        raise CliError("either --image or --from must be specified")
    body: Json = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    if opts["image"]:
        body["spec"] = {"template": {"metadata": {}, "spec": _pod_spec(name, opts["image"], command, "Never")}}
        body["status"] = {}
    else:
        source = builder.one(call, [opts["from"]], "cronjob").obj
        template = source["spec"]["jobTemplate"]
        metadata = template.get("metadata") or {}
        body["metadata"] |= {
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual", **(metadata.get("annotations") or {})},
            "ownerReferences": [{
                "apiVersion": "batch/v1", "controller": True, "kind": "CronJob", "name": source["metadata"]["name"],
                "uid": source["metadata"]["uid"],
            }],
        }  # fmt: skip
        if metadata.get("labels"):
            body["metadata"]["labels"] = metadata["labels"]
        body["spec"] = template["spec"]
        body["status"] = {}
    writes.made(call, body)
    return 0


def cronjob(call: Call) -> int:
    name, opts = only_name(call), call.opts
    command = call.args[call.dash :] if call.dash >= 0 else []
    for flag in ("image", "schedule"):
        if not opts[flag]:
            raise CliError(f'required flag(s) "{flag}" not set')
    spec = _pod_spec(name, opts["image"], command, opts["restart"] or "OnFailure")
    writes.made(call, {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {
            "jobTemplate": {"metadata": {"name": name}, "spec": {"template": {"metadata": {}, "spec": spec}}},
            "schedule": opts["schedule"],
        },
        "status": {},
    })  # fmt: skip
    return 0


COMMANDS = {
    "create deployment": Command(deployment, "NAME --image=image -- [COMMAND] [args...]", MAKE + """
        image list  Image of a container; may repeat.
        replicas,r int=1  How many pods.
        port int  Port that the first container listens on.
        """, "kubectl create deployment web --image=nginx --replicas=3"),
    "create job": Command(job, "NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...]", MAKE + """
        image str  Image of the container.
        from str  The cron job to take the template of: cronjob/NAME.
        """, "kubectl create job hello --image=busybox -- echo hello"),
    "create cronjob": Command(cronjob, "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...]", MAKE + """
        image str  Image of the container.
        schedule str  When to run, as cron has it.
        restart str  The pods' restart policy: OnFailure or Never.
        """, "kubectl create cronjob hello --image=busybox --schedule='*/1 * * * *' -- echo hello"),
}  # fmt: skip
