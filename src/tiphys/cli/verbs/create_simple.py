"""`create namespace|serviceaccount|quota|poddisruptionbudget|priorityclass|token`."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import writes
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.create import MAKE, only_name

Json = dict[str, Any]


def namespace(call: Call) -> int:
    name = only_name(call)
    writes.made(call, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}, "status": {}})
    return 0


def serviceaccount(call: Call) -> int:
    writes.made(call, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": only_name(call)}})
    return 0


def quota(call: Call) -> int:
    spec: Json = {}
    if call.opts["hard"]:
        spec["hard"] = dict(word.partition("=")[::2] for word in call.opts["hard"].split(","))
    if call.opts["scopes"]:
        spec["scopes"] = call.opts["scopes"].split(",")
    meta = {"name": only_name(call)}
    writes.made(call, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec, "status": {}})
    return 0


def budget(call: Call) -> int:
    opts = call.opts
    if not opts["selector"]:
        raise CliError("a selector must be specified")
    if bool(opts["min-available"]) == bool(opts["max-unavailable"]):
        raise CliError("one of min-available or max-unavailable must be specified, and not both")
    spec: Json = {"selector": {"matchLabels": dict(word.partition("=")[::2] for word in opts["selector"].split(","))}}
    field, text = ("minAvailable", opts["min-available"]) if opts["min-available"] else (
        "maxUnavailable", opts["max-unavailable"])  # fmt: skip
    spec[field] = int(text) if text.isdigit() else text
    meta = {"name": only_name(call)}
    status = dict.fromkeys(("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 0)
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec, "status": status}
    writes.made(call, body)
    return 0


def priority_class(call: Call) -> int:
    opts = call.opts
    body: Json = {
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": only_name(call)},
        "value": opts["value"],
        "preemptionPolicy": opts["preemption-policy"] or "PreemptLowerPriority",
    }  # fmt: skip
    if opts["global-default"]:
        body["globalDefault"] = True
    if opts["description"]:
        body["description"] = opts["description"]
    writes.made(call, body)
    return 0


def token(call: Call) -> int:
    """Ask for a token and print it alone, for scripts."""
    opts, name = call.opts, only_name(call)
    spec: Json = {"audiences": opts["audience"]}
    if opts["duration"]:
        spec["expirationSeconds"] = int(opts["duration"])
    if opts["bound-object-kind"]:
        spec["boundObjectRef"] = {
            "kind": opts["bound-object-kind"], "apiVersion": "v1", "name": opts["bound-object-name"],
            "uid": opts["bound-object-uid"],
        }  # fmt: skip
    resource = call.discovery.of_kind("v1", "ServiceAccount")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
    path = resource.path(call.namespace, name, "token")
    answer = orjson.loads(call.transport.call("POST", path, body=body))
    if opts["output"]:
        writes.show(call, answer, "created")
        return 0
    call.say(answer["status"]["token"])
    return 0


COMMANDS = {
    "create namespace": Command(namespace, "NAME", MAKE, "kubectl create namespace team-a"),
    "create serviceaccount": Command(serviceaccount, "NAME", MAKE),
    "create quota": Command(quota, "NAME [--hard=key=value,...]", MAKE + """
        hard str  Limits as KEY=VALUE, separated by commas.
        scopes str  Scopes, separated by commas.
        """, "kubectl create quota small --hard=cpu=1,pods=5"),
    "create poddisruptionbudget": Command(budget, "NAME --selector=SELECTOR --min-available=N", MAKE + """
        selector str  Labels of the pods as KEY=VALUE.
        min-available str  How many must stay, a number or a percentage.
        max-unavailable str  How many may be missing, a number or a percentage.
        """, "kubectl create pdb web --selector=app=web --min-available=1"),
    "create priorityclass": Command(priority_class, "NAME --value=VALUE", MAKE + """
        value int  The priority.
        global-default bool  Of pods that name none.
        description str  When to use it.
        preemption-policy str  PreemptLowerPriority or Never.
        """, "kubectl create priorityclass high --value=1000"),
    "create token": Command(token, "SERVICE_ACCOUNT_NAME", """
        output,o str  Format: json, yaml, name, jsonpath...
        template str  Template of -o jsonpath.
        allow-missing-template-keys bool=true  A template may name fields that are not there.
        show-managed-fields bool  Accepted.
        audience array  Audience of the token; may repeat.
        duration time  How long it should hold.
        bound-object-kind str  Pod, Secret or Node.
        bound-object-name str  Its name.
        bound-object-uid str  Its UID.
        """, "kubectl create token default --duration=1h"),
}  # fmt: skip
