"""`logs`: what containers wrote, of one pod, of a workload, or of all pods that a selector chooses.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_logs/
"""

from __future__ import annotations

import sys
import threading
from typing import Any, NamedTuple

import orjson

from tiphys.cli import pods
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = """
container,c str  The container; the pod's default where none is named.
all-containers bool  All containers of the pod.
all-pods bool  All pods of the workload.
follow,f bool  Go on as more is written.
previous,p bool  Of the container's previous run.
tail int=-1  Lines from the end; -1 for all, 10 with a selector.
since str  Only what is younger than this duration, such as 5m.
since-time str  Only what is younger than this time (RFC 3339).
timestamps bool  Begin each line with its time.
limit-bytes int  At most so many bytes.
prefix bool  Begin each line with its pod and container.
selector,l str  Label query instead of a name.
max-log-requests int=5  How many logs may be followed at once.
ignore-errors bool  Go on when one log cannot be read.
insecure-skip-tls-verify-backend bool  Do not verify the kubelet's certificate.
pod-running-timeout time=20s  How long to wait for a running pod.
"""


class Source(NamedTuple):
    pod: Json
    container: str


def run(call: Call) -> int:
    opts = call.opts
    sources = _sources(call)
    if opts["follow"] and len(sources) > opts["max-log-requests"]:
        raise CliError(
            f"you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
            f"{opts['max-log-requests']}, use --max-log-requests to increase the limit"
        )
    if opts["follow"] and len(sources) > 1:
        threads = [threading.Thread(target=_copy, args=(call, source), daemon=True) for source in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 0
    for source in sources:
        _copy(call, source)
    return 0


def _sources(call: Call) -> list[Source]:
    opts = call.opts
    if opts["selector"]:
        if call.args:
            raise CliError("only a selector (-l) or a POD name is allowed")
        found = pods.selected(call, opts["selector"])
        if not found:
            call.warn(f"No resources found in {call.namespace} namespace.")
        return [source for pod in found for source in _of_pod(call, pod)]
    if not call.args:
        raise CliError("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
                       "POD or TYPE/NAME is a required argument for the logs command\n"
                       "See 'kubectl logs -h' for help and examples")  # fmt: skip
    found = _named(call)
    if opts["all-pods"]:
        opts["prefix"] = True
        return [source for pod in found for source in _of_pod(call, pod)]
    pod = found[0]
    if len(found) > 1:
        call.warn(f"Found {len(found)} pods, using pod/{pod['metadata']['name']}")
    if len(call.args) == 2:
        return [Source(pod, call.args[1])]
    return _of_pod(call, pod)


def _named(call: Call) -> list[Json]:
    """The pod, or the pods of a workload or Service: first what is assigned, runs, is ready, is old."""
    kind, slash, name = call.args[0].partition("/")
    if not slash or call.discovery.find(kind).plural == "pods":
        return [pods.find(call, call.args[0])]
    path = call.discovery.find(kind).path(call.namespace, name)
    owner: Json = orjson.loads(call.transport.call("GET", path))
    found = pods.selected(call, pods.selector_of(owner, call.args[0]))
    return sorted(found, key=_activity) if found else [pods.find(call, call.args[0])]


def _activity(pod: Json) -> tuple[Any, ...]:
    status = pod.get("status") or {}
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or ())
    phase = {"Running": 0, "Pending": 1}.get(status.get("phase", ""), 2)
    return not pod["spec"].get("nodeName"), phase, not ready, pod["metadata"].get("creationTimestamp", "")


def _of_pod(call: Call, pod: Json) -> list[Source]:
    opts = call.opts
    if opts["container"]:
        return [Source(pod, opts["container"])]
    if opts["all-containers"]:
        return [Source(pod, name) for name in pods.containers(pod, every=True)]
    name = pods.default_container(pod)
    if len(pods.containers(pod)) > 1:
        names = ", ".join(pods.containers(pod, every=True))
        call.warn(f'Defaulted container "{name}" out of: {names}')
    return [Source(pod, name)]


def _query(call: Call, container: str) -> Json:
    opts = call.opts
    tail = opts["tail"]
    if tail < 0 and opts["selector"]:
        tail = 10
    query: Json = {
        "container": container, "follow": opts["follow"], "previous": opts["previous"],
        "timestamps": opts["timestamps"], "sinceTime": opts["since-time"], "limitBytes": opts["limit-bytes"] or None,
    }  # fmt: skip
    if tail >= 0:
        query["tailLines"] = str(tail)
    if opts["since"]:
        from tiphys.cli.flags import duration

        query["sinceSeconds"] = int(duration(opts["since"])) or 1
    return query


def _copy(call: Call, source: Source) -> None:
    path, query = pods.path_of(source.pod, "log"), _query(call, source.container)
    out = sys.stdout.buffer
    if not call.opts["prefix"]:
        for chunk in call.transport.stream(path, query=query):
            out.write(chunk)
            out.flush()
        return
    prefix = f"[pod/{source.pod['metadata']['name']}/{source.container}] ".encode()
    for line in call.transport.lines(path, query=query):
        out.write(prefix + line)
        out.flush()


COMMANDS = {
    "logs": Command(run, "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]", FLAGS, """
        kubectl logs web-0
        kubectl logs -f deploy/web
        kubectl logs -l app=web --prefix
    """),
}  # fmt: skip
