"""`tiphys stack`: Compose and Swarm stack files on a cluster, with docker's verbs.

Source: https://docs.docker.com/reference/cli/docker/stack/
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiphys.cli.config import Connection, load
from tiphys.cli.errors import CliError, ServerError, Unreachable, explain
from tiphys.cli.transport import Http
from tiphys.main.front_doors import deploying, listing
from tiphys.main.front_doors.live import WORKLOADS, Live
from tiphys.stacks.objects import STACK, Facts, dns_name
from tiphys.stacks.problems import Refused

Json = dict[str, Any]


def stack(arguments: Sequence[str]) -> int:
    words = ["--detach=true" if word in ("-d", "--detach") else word for word in arguments]
    options = _parser().parse_args(words)
    return guarded("tiphys stack", lambda: _VERBS[options.verb](options))


def guarded(program: str, run: Any) -> int:
    """The exit code of `run`; what goes wrong is said, one problem a line."""
    try:
        code: int = run()
        return code
    except Refused as refused:
        for line in refused.errors:
            print(f"error: {line}", file=sys.stderr)
        print(f"{program}: nothing was created or changed", file=sys.stderr)
    except (CliError, ServerError) as error:
        print(f"{program}: {explain(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tiphys stack", description="Compose and Swarm stack files on a cluster.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    deploy = _verb(verbs, "deploy", "create a stack, or bring it up to date", "up")
    _files(deploy)
    deploy.add_argument("--prune", action="store_true", help="remove services that are not in the file any more")
    deploy.add_argument("--with-registry-auth", action="store_true", help="take docker's logins along, as a Secret")
    deploy.add_argument(
        "--resolve-image", choices=("always", "changed", "never"), help="accepted: images are the nodes' to pull"
    )
    deploy.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    waiting(deploy)
    _named(deploy)
    config = _verb(verbs, "config", "print the objects that would be applied")
    _files(config)
    config.add_argument("name", nargs="?", default="stack", help="name of the stack (default: %(default)s)")
    _verb(verbs, "ls", "list the stacks", "list").add_argument(
        "-q", "--quiet", action="store_true", help=argparse.SUPPRESS
    )
    for name, text in (("services", "list the services of a stack"), ("ps", "list the tasks of a stack")):
        one = _verb(verbs, name, text)
        one.add_argument("-q", "--quiet", action="store_true", help="IDs only")
        one.add_argument("--no-trunc", action="store_true", help="whole texts")
        _named(one)
    remove = _verb(verbs, "rm", "remove stacks; volumes stay", "remove", "down")
    remove.add_argument("--volumes", action="store_true", help="the volumes too")
    remove.add_argument("names", nargs="+", metavar="NAME")
    back = _verb(verbs, "rollback", "a stack or a service as it was before the last change")
    waiting(back)
    _named(back)
    back.add_argument("service", nargs="?", default="", metavar="SERVICE")
    return parser


def _verb(verbs: Any, name: str, text: str, *aliases: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, aliases=aliases)
    made.set_defaults(verb=name)
    connection(made)
    return made


def connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="as kubectl's")
    parser.add_argument("--context", default="", metavar="NAME", help="as kubectl's")


def live(options: argparse.Namespace, namespace: str) -> Live:
    return Live(Http(Connection(load(options.kubeconfig), {"context": options.context})), namespace)


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", "--compose-file", action="append", required=True, metavar="FILE", help="may repeat: later ones win"
    )
    parser.add_argument("--profile", action="append", default=[], metavar="NAME", help="services of this profile too")


def waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detach", default="false", choices=("true", "false"),
                        help="do not wait; nobody then watches for failing updates")  # fmt: skip
    parser.add_argument(
        "--timeout",
        type=float,
        default=600,
        metavar="SECONDS",
        help="how long to wait (default: %(default)g; 0: for ever)",
    )


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the stack")


def translated(options: argparse.Namespace, facts: Facts) -> list[Json]:
    """The objects; warnings go to standard error. Raises Refused."""
    from tiphys.stacks.compose.load import load as read
    from tiphys.stacks.compose.translate import translate

    model = read(options.compose_file, os.environ, profiles=options.profile)
    try:
        return translate(model, dns_name(options.name), facts)
    finally:
        for line in model.problems.warnings:
            print(f"warning: {line}", file=sys.stderr)


def _registry(options: argparse.Namespace) -> bytes | None:
    if not getattr(options, "with_registry_auth", False):
        return None
    import orjson

    file = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        given = orjson.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CliError(f"--with-registry-auth: {file}: {error}") from None
    auths = {name: one for name, one in (given.get("auths") or {}).items() if one.get("auth")}
    if not auths:
        raise CliError(
            f"--with-registry-auth: {file} has no logins of its own; a credential helper's cannot be taken along"
        )
    return orjson.dumps({"auths": auths})


def _deploy(options: argparse.Namespace) -> int:
    name = _stack_name(options.name)
    cluster = live(options, name)
    objects = translated(options, cluster.facts(_registry(options)))
    way = deploying.Way(options.prune, options.detach != "true", options.timeout)
    return deploying.deploy(cluster, name, objects, way)


def _stack_name(text: str) -> str:
    name = dns_name(text)
    if not name or name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        raise CliError(f"{text!r} cannot be the name of a stack: it is the name of its namespace")
    return name


def _config(options: argparse.Namespace) -> int:
    from tiphys.cli import yamls

    try:
        facts = live(options, dns_name(options.name)).facts()
    except Unreachable:
        print("warning: no cluster answers: no node has an address, and what is external is empty", file=sys.stderr)
        facts = Facts(external=lambda kind, name: b"")
    for obj in translated(options, facts):
        print("---\n" + yamls.dump(obj), end="")
    return 0


def _ls(options: argparse.Namespace) -> int:
    print(listing.stacks(live(options, "")), end="")
    return 0


def _services(options: argparse.Namespace) -> int:
    name = dns_name(options.name)
    cluster = live(options, name)
    found = [obj for kind in WORKLOADS for obj in cluster.list(kind, f"{STACK}={name}")]
    if not found:
        print(f"Nothing found in stack: {name}", file=sys.stderr)
        return 0
    print(listing.services(found, name, quiet=options.quiet), end="")
    return 0


def _ps(options: argparse.Namespace) -> int:
    name = dns_name(options.name)
    found = live(options, name).list("Pod", f"{STACK}={name}")
    if not found:
        print(f"nothing found in stack: {name}", file=sys.stderr)
        return 1
    print(listing.tasks(found, quiet=options.quiet, whole=options.no_trunc), end="")
    return 0


def _rm(options: argparse.Namespace) -> int:
    for name in map(dns_name, options.names):
        if deploying.remove(live(options, name), name, volumes=options.volumes):
            print(f"Removing stack {name}")
        else:
            print(f"Nothing found in stack: {name}", file=sys.stderr)
    return 0


def _rollback(options: argparse.Namespace) -> int:
    name = dns_name(options.name)
    way = deploying.Way(wait=options.detach != "true", timeout=options.timeout)
    return deploying.roll_back(live(options, name), name, {dns_name(options.service)} - {""}, way)


_VERBS = {
    "deploy": _deploy, "config": _config, "ls": _ls, "services": _services, "ps": _ps, "rm": _rm, "rollback": _rollback,
}  # fmt: skip
