"""`tiphys marathon`: Marathon's app and group definitions on a cluster.

All apps are in one namespace, as all of a Marathon are in one tree. Source: https://mesosphere.github.io/marathon/docs/
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tiphys.cli.errors import CliError
from tiphys.main.front_doors import deploying, listing, release
from tiphys.main.front_doors.live import WORKLOADS, Live
from tiphys.main.front_doors.stack import connection, guarded, live, waiting
from tiphys.stacks.marathon.load import load
from tiphys.stacks.marathon.translate import ID, translate
from tiphys.stacks.objects import STACK

Json = dict[str, Any]


def marathon(arguments: Sequence[str]) -> int:
    words = ["--detach=true" if word in ("-d", "--detach") else word for word in arguments]
    options = _parser().parse_args(words)
    return guarded("tiphys marathon", lambda: _VERBS[options.verb](options, live(options, options.namespace)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tiphys marathon", description="Marathon's apps and groups on a cluster.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    apply = _verb(verbs, "apply", "create apps, or bring them up to date; a group loses apps that it does not name")
    apply.add_argument("files", nargs="+", metavar="FILE", help="an app, a group, or a list of them, JSON")
    apply.add_argument("--image", default="", help="what apps run in that name no image: Mesos ran them on the host")
    waiting(apply)
    _verb(verbs, "ls", "list the apps")
    remove = _verb(verbs, "rm", "remove apps or whole groups; persistent volumes stay")
    remove.add_argument("ids", nargs="+", metavar="ID")
    back = _verb(verbs, "rollback", "an app or a group as it was before the last change")
    back.add_argument("id", metavar="ID")
    waiting(back)
    return parser


def _verb(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    made.add_argument("-n", "--namespace", default="marathon", help="where the apps are (default: %(default)s)")
    connection(made)
    return made


def _apply(options: argparse.Namespace, cluster: Live) -> int:
    model = load(options.files, options.image)
    try:
        objects, order = translate(model, options.namespace, cluster.facts())
    finally:
        for line in model.problems.warnings:
            print(f"warning: {line}", file=sys.stderr)
    named = {app.id for app in model.apps}
    kept = [
        obj for obj in release.read(cluster)[0]
        if _id(obj) not in named and not any(_below(_id(obj), group) for group in model.groups)
    ]  # fmt: skip
    way = deploying.Way(True, options.detach != "true", options.timeout, tuple(order))
    if len(order) > 1 and not way.wait:
        print("warning: nobody waits with --detach: dependencies start together", file=sys.stderr)
    return deploying.deploy(cluster, options.namespace, [*kept, *objects], way)


def _ls(options: argparse.Namespace, cluster: Live) -> int:
    rows = [["ID", "MEM", "CPUS", "TASKS", "HEALTH", "DEPLOYMENT", "CONTAINER", "CMD"]]
    found = [obj for kind in WORKLOADS for obj in cluster.list(kind, f"{STACK}={options.namespace}")]
    for obj in sorted(found, key=_id):
        container = obj["spec"]["template"]["spec"]["containers"][0]
        requests = (container.get("resources") or {}).get("requests") or {}
        ready, _, wanted = listing.replicas(obj).partition("/")
        words = [*(container.get("command") or ())[2:], *(container.get("args") or ())]
        status = obj.get("status") or {}
        going = status.get("updatedReplicas", 0) < int(wanted) or ready != wanted
        health = f"{ready}/{wanted}" if container.get("readinessProbe") else "---"
        image = container["image"]
        rows.append([
            _id(obj), str(requests.get("memory", "0")).removesuffix("Mi"), str(requests.get("cpu", "0")),
            f"{ready}/{wanted}",
            health, "running" if going else "---", image, " ".join(words)[:40],
        ])  # fmt: skip
    print(listing.table(rows), end="")
    return 0


def _rm(options: argparse.Namespace, cluster: Live) -> int:
    current, _ = release.read(cluster)
    ids = ["/" + text.strip("/") for text in options.ids]
    code = 0
    for text in ids:
        if not any(_below(_id(obj), text) for obj in current):
            print(f"tiphys marathon: there is no app or group {text}", file=sys.stderr)
            code = 1
    kept = [obj for obj in current if not any(_below(_id(obj), text) for text in ids)]
    release.write(cluster, kept, current)
    for title in release.prune(cluster, f"{STACK}={options.namespace}", kept, current):
        print(f"removed {title}")
    return code


def _rollback(options: argparse.Namespace, cluster: Live) -> int:
    text = "/" + options.id.strip("/")
    current, previous = release.read(cluster)
    names = {release.service_of(obj) for obj in [*current, *previous] if _below(_id(obj), text)}
    if not names:
        raise CliError(f"there is no app or group {text}")
    way = deploying.Way(wait=options.detach != "true", timeout=options.timeout)
    return deploying.roll_back(cluster, options.namespace, names, way)


def _id(obj: Json) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(ID, ""))


def _below(app: str, group: str) -> bool:
    return app == group or app.startswith(group.rstrip("/") + "/")


_VERBS = {"apply": _apply, "ls": _ls, "rm": _rm, "rollback": _rollback}
