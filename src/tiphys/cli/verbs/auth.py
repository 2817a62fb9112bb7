"""`auth can-i|whoami`: what the server would allow, and who it takes the caller for.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_auth/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError, Exit
from tiphys.cli.tabs import align

Json = dict[str, Any]
_AUTHZ = "/apis/authorization.k8s.io/v1"
FLAGS = """
all-namespaces,A bool  In every namespace.
list bool  List what is allowed in the namespace.
quiet,q bool  Say nothing; the exit code is the answer.
subresource str  The subresource, such as log.
no-headers bool  Print no line of headers.
"""


def group(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("auth", COMMANDS["auth"]))
    return 0


def _review(call: Call, kind: str, plural: str, spec: Json) -> Json:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    answer: Json = orjson.loads(call.transport.call("POST", f"{_AUTHZ}/{plural}", body=body))
    return answer["status"] or {}


def can_i(call: Call) -> int:
    if call.opts["list"]:
        return _list(call)
    if len(call.args) not in (2, 3):
        raise CliError("you must specify two arguments: verb resource or verb resource/resourceName.")
    spec = _spec(call)
    status = _review(call, "SelfSubjectAccessReview", "selfsubjectaccessreviews", spec)
    allowed = bool(status.get("allowed"))
    if not call.opts["quiet"]:
        reason = f" - {status['reason']}" if status.get("reason") else ""
        call.say(("yes" if allowed else "no") + reason)
    if not allowed:
        raise Exit(1)
    return 0


def _spec(call: Call) -> Json:
    verb, what, *rest = call.args
    if what.startswith("/"):
        return {"nonResourceAttributes": {"verb": verb, "path": what}}
    word, _, name = what.partition("/")
    attributes: Json = {"verb": verb, "name": name or (rest[0] if rest else ""), "resource": word}
    attributes["namespace"] = "" if call.opts["all-namespaces"] else call.namespace
    attributes["subresource"] = call.opts["subresource"]
    if word != "*":
        try:
            resource = call.discovery.find(word)
        except CliError:
            call.warn(f"Warning: the server doesn't have a resource type '{word}'\n")
        else:
            attributes |= {"resource": resource.plural, "group": resource.group, "version": resource.version}
            if not resource.namespaced:
                attributes["namespace"] = ""
                where = f" in group '{resource.group}'" if resource.group else ""
                call.warn(f"Warning: resource '{resource.plural}' is not namespace scoped{where}\n")
    return {"resourceAttributes": attributes}


def _list(call: Call) -> int:
    from tiphys.cli.describers.core import rules

    status = _review(call, "SelfSubjectRulesReview", "selfsubjectrulesreviews", {"namespace": call.namespace})
    found = [*(status.get("resourceRules") or ()), *(status.get("nonResourceRules") or ())]
    header = [] if call.opts["no-headers"] else [("Resources", "Non-Resource URLs", "Resource Names", "Verbs")]
    text = "".join("\t".join(row) + "\n" for row in [*header, *rules(found)])
    call.out.write(align(text, minimum=6, padding=3))
    return 0


def whoami(call: Call) -> int:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = orjson.loads(call.transport.call("POST", path, body=body))
    if call.opts["output"] == "json":
        call.say(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return 0
    info = answer["status"]["userInfo"]
    rows = ["ATTRIBUTE\tVALUE", f"Username\t{info.get('username', '')}"]
    if info.get("uid"):
        rows.append(f"UID\t{info['uid']}")
    if info.get("groups"):
        rows.append(f"Groups\t[{' '.join(info['groups'])}]")
    rows += [f"Extra: {name}\t[{' '.join(values)}]" for name, values in sorted((info.get("extra") or {}).items())]
    call.out.write(align("\n".join(rows) + "\n", minimum=6, padding=3))
    return 0


def reconcile(call: Call) -> int:
    raise CliError("auth reconcile is not built in; `apply` the roles and bindings instead")


COMMANDS = {
    "auth": Command(group, "SUBCOMMAND"),
    "auth can-i": Command(can_i, "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]", FLAGS, "kubectl auth can-i create pods"),
    "auth whoami": Command(whoami, "", "output,o str  Format: json.\n", "kubectl auth whoami"),
    "auth reconcile": Command(reconcile, "-f FILENAME"),
}
