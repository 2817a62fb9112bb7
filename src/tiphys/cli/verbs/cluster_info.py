"""`cluster-info`: where the control plane and the cluster's own services are."""

from __future__ import annotations

import sys

import orjson

from tiphys.cli.command import Call, Command

DUMP_FLAGS = """
all-namespaces,A bool  Every namespace instead of the system's and the current one.
output,o str=json  Format: json.
"""


def run(call: Call) -> int:
    green, yellow, plain = ("\033[32m", "\033[33m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
    call.say(f"{green}Kubernetes control plane{plain} is running at {yellow}{call.transport.url}{plain}")
    query = {"labelSelector": "kubernetes.io/cluster-service=true"}
    services = orjson.loads(call.transport.call("GET", "/api/v1/namespaces/kube-system/services", query=query))["items"]
    for service in services:
        name = service["metadata"]["name"]
        port = (service["spec"].get("ports") or [{}])[0].get("name", "")
        path = f"/api/v1/namespaces/kube-system/services/{name}{':' + port if port else ''}/proxy"
        call.say(f"{green}{name}{plain} is running at {yellow}{call.transport.url}{path}{plain}")
    call.say("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.")
    return 0


def dump(call: Call) -> int:
    """Nodes, and of each namespace events, workloads, Services and pods with their logs."""
    call.out.write(call.transport.call("GET", "/api/v1/nodes").decode() + "\n")
    namespaces = ["kube-system", call.namespace]
    if call.opts["all-namespaces"]:
        found = orjson.loads(call.transport.call("GET", "/api/v1/namespaces"))["items"]
        namespaces = [item["metadata"]["name"] for item in found]
    for namespace in dict.fromkeys(namespaces):
        for path in ("api/v1/{}/events", "api/v1/{}/services", "apis/apps/v1/{}/deployments", "api/v1/{}/pods"):
            path = "/" + path.format(f"namespaces/{namespace}")
            call.out.write(call.transport.call("GET", path).decode() + "\n")
    return 0


COMMANDS = {
    "cluster-info": Command(run, ""),
    "cluster-info dump": Command(dump, "", DUMP_FLAGS),
}
