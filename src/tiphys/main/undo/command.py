"""`tiphys history`, `undelete` and `rollback`: what is typed, and what is shown."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import orjson

from tiphys.api.resource import Json
from tiphys.cli.errors import CliError, ServerError, explain
from tiphys.main.backup.history import Point
from tiphys.main.backup.options import check_root
from tiphys.main.backup.times import moment, span, stamp
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.undo import past
from tiphys.main.undo.api import Api
from tiphys.main.undo.plan import CREATE, DELETE, Step, steps, wanted
from tiphys.main.undo.timeline import DELETED, STATUS, Entry, timeline

_SHOWN = 4
_NAMESPACES = "/registry/core/namespaces/"


def history(arguments: Sequence[str]) -> int:
    parser = _parser("history", "What became of an object: each change, when, by whom, and which fields.", named=True)
    parser.add_argument("--status", action="store_true", help="changes of nothing but the status, too")
    parser.add_argument("--revision", type=int, metavar="N", help="the whole object as it was at that revision")
    parser.add_argument("-o", "--output", choices=("json",), help="for scripts")
    options = parser.parse_args(arguments)
    return _guarded("history", lambda: _history(options))


def undelete(arguments: Sequence[str]) -> int:
    parser = _parser("undelete", "Create again what was deleted; a namespace with all that was in it.", named=True)
    options = parser.parse_args(arguments)
    return _guarded("undelete", lambda: _undelete(options))


def rollback(arguments: Sequence[str]) -> int:
    parser = _parser("rollback", "Have an object, or a whole namespace, as it was.", named=False)
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--to", type=_past, metavar="TIME", help="2026-11-20T10:15:00Z, or 10m for ten minutes ago")
    when.add_argument("--revision", type=int, metavar="N", help="as `tiphys history` shows them")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    return _guarded("rollback", lambda: _rollback(options))


def _parser(verb: str, text: str, *, named: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"tiphys {verb}", description=text)
    parser.add_argument("object", nargs=None if named else "?", metavar="KIND/NAME", help="as in deployment/web")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default: %(default)s)")
    parser.add_argument("--cluster", default=DEFAULT_NAME, metavar="NAME", help="the cluster (default: %(default)s)")
    return parser


def _past(text: str) -> float:
    """Seconds since the epoch, of a time or of a span before now."""
    try:
        return time.time() - span(text)
    except argparse.ArgumentTypeError:
        return moment(text)


def _guarded(verb: str, run: Callable[[], int]) -> int:
    try:
        check_root()
        return run()
    except (ClusterError, OSError) as error:
        print(f"tiphys {verb}: {error}", file=sys.stderr)
    except (CliError, ServerError) as error:
        print(f"tiphys {verb}: {explain(error)}", file=sys.stderr)
    return 1


def _key(api: Api, options: argparse.Namespace) -> str:
    kind, slash, name = options.object.partition("/")
    if not slash or not name:
        raise ClusterError(f"{options.object!r} is no object: write KIND/NAME, as in deployment/web")
    resource = api.find(kind)
    place = f"{options.namespace}/{name}" if resource.namespaced else name
    return f"/registry/{resource.group or 'core'}/{resource.plural}/{place}"


def _history(options: argparse.Namespace) -> int:
    cluster = Cluster(options.cluster)
    past.settle(cluster)
    entries = list(timeline(past.changes_of(cluster, _key(Api(cluster), options))))
    if not entries:
        raise ClusterError(f"the history knows no {options.object} in namespace {options.namespace!r}")
    if options.revision is not None:
        return _show(entries, options)
    shown = [entry for entry in entries if options.status or entry.what != STATUS]
    if options.output == "json":
        rows = [{**asdict(entry), "time": stamp(entry.time)} for entry in shown]
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return 0
    print(f"{'REVISION':<10} {'TIME':<21} {'WHAT':<8} {'BY':<26} FIELDS")
    for entry in shown:
        fields = list(entry.fields[:_SHOWN])
        if len(entry.fields) > _SHOWN:
            fields.append(f"and {len(entry.fields) - _SHOWN} more")
        line = f"{entry.revision:<10} {stamp(entry.time):<21} {entry.what:<8} {entry.by:<26} {', '.join(fields)}"
        print(line.rstrip())
    return 0


def _show(entries: Sequence[Entry], options: argparse.Namespace) -> int:
    from tiphys.cli import yamls

    before = [entry for entry in entries if entry.revision <= options.revision]
    if not before or before[-1].what == DELETED or before[-1].obj is None:
        raise ClusterError(f"there was no {options.object} at revision {options.revision}")
    obj = before[-1].obj
    print(orjson.dumps(obj).decode() if options.output == "json" else yamls.dump(obj).rstrip())
    return 0


def _undelete(options: argparse.Namespace) -> int:
    cluster = Cluster(options.cluster)
    api = Api(cluster)
    key = _key(api, options)
    past.settle(cluster)
    entries = list(timeline(past.changes_of(cluster, key)))
    alive = [e for e in entries if e.what != DELETED and e.obj and not e.obj["metadata"].get("deletionTimestamp")]
    if not alive or alive[-1].obj is None:
        raise ClusterError(f"the history knows no {options.object} in namespace {options.namespace!r}")
    last = alive[-1].obj
    present = api.get(last)
    if present is not None and not present["metadata"].get("deletionTimestamp"):
        raise ClusterError(f"{options.object} was not deleted: it is there")
    if key.startswith(_NAMESPACES):
        # Once a namespace goes, what is in it goes piece by piece: as it was just before.
        gone = next(e.revision for e in entries if e.revision > alive[-1].revision)
        return _namespace(cluster, api, last["metadata"]["name"], Point(revision=gone - 1))
    api.run(Step(CREATE, key, wanted(last)))
    print(f"{options.object} is there again, as of revision {alive[-1].revision}, {stamp(alive[-1].time)}")
    return 0


def _namespace(cluster: Cluster, api: Api, name: str, point: Point) -> int:
    api.ensure_namespace(name, _namespace_then(cluster, name, point))
    plan = [step for step in _plan(cluster, api, past.in_namespace(name), point) if step.action != DELETE]
    return _carry_out(api, plan)


def _namespace_then(cluster: Cluster, name: str, point: Point) -> Json | None:
    found = past.states(cluster, point, lambda key: key == _NAMESPACES + name)
    return wanted(orjson.loads(next(iter(found.values())))) if found else None


def _rollback(options: argparse.Namespace) -> int:
    cluster = Cluster(options.cluster)
    api, point = Api(cluster), Point(options.revision, options.to)
    past.settle(cluster)
    if options.object:
        key = _key(api, options)
        plan = _plan(cluster, api, lambda each: each == key, point)
    else:
        plan = _plan(cluster, api, past.in_namespace(options.namespace), point)
    if not plan:
        print(f"everything is as it was at {point}")
        return 0
    for step in plan:
        print(f"{step.action:<8} {step.name}{': ' if step.changed else ''}{', '.join(step.changed[:_SHOWN])}")
    if options.dry_run:
        return 0
    if not options.yes and not _agreed(len(plan)):
        raise ClusterError("nothing was done; --yes does it without asking")
    if not options.object:
        api.ensure_namespace(options.namespace, _namespace_then(cluster, options.namespace, point))
    return _carry_out(api, plan)


def _agreed(count: int) -> bool:
    return sys.stdin.isatty() and input(f"do these {count} steps? [y/N] ").strip().lower() in ("y", "yes")


def _plan(cluster: Cluster, api: Api, matches: Callable[[str], bool], point: Point) -> list[Step]:
    then, last = past.states(cluster, point, matches), past.states(cluster, Point(), matches)
    touched = sorted(key for key in then.keys() | last.keys() if then.get(key) != last.get(key))
    before = {key: orjson.loads(then[key]) for key in touched if key in then}
    # The history is a moment behind: what is to be changed is asked for.
    now = {key: api.get(orjson.loads(last.get(key) or then[key])) for key in touched}
    return steps(before, {key: obj for key, obj in now.items() if obj is not None})


def _carry_out(api: Api, plan: Sequence[Step]) -> int:
    failures = 0
    for step in plan:
        try:
            api.run(step)
            print(f"{step.name} {step.action}d")
        except (ServerError, ClusterError) as error:
            failures += 1
            said = explain(error) if isinstance(error, ServerError) else str(error)
            print(f"{step.name} not {step.action}d: {said}", file=sys.stderr)
    return 1 if failures else 0
