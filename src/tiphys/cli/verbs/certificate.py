"""`certificate approve|deny`: decide about CertificateSigningRequests.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import orjson

from tiphys.cli import builder, times, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import FILES, OUTPUT, SELECT, Call, Command
from tiphys.cli.errors import CliError, UsageError

FLAGS = (
    FILES
    + SELECT
    + OUTPUT
    + """
force bool  Decide again about what is decided.
"""
)


def group(call: Call) -> int:
    raise UsageError("must specify a subcommand: approve or deny\nSee 'kubectl certificate -h' for help and examples")


def approve(call: Call) -> int:
    return _decide(call, "Approved", "KubectlApprove", "This CSR was approved by kubectl certificate approve.")


def deny(call: Call) -> int:
    return _decide(call, "Denied", "KubectlDeny", "This CSR was denied by kubectl certificate deny.")


def _decide(call: Call, kind: str, reason: str, message: str) -> int:
    if not call.args and not call.opts["filename"] and not call.opts["selector"]:
        raise CliError("one or more CSRs must be specified as <name> or -f <filename>")
    words = ["csr", *call.args] if call.args and "/" not in call.args[0] else call.args
    for info in builder.infos(call, builder.targets(call, words)):
        obj = info.obj
        status = obj.setdefault("status", {})
        other = "Denied" if kind == "Approved" else "Approved"
        if any(item["type"] == other for item in status.get("conditions") or ()):
            raise CliError(f'certificate signing request "{info.name}" is already {other}')
        known = [item for item in status.get("conditions") or () if item["type"] != kind]
        if len(known) == len(status.get("conditions") or ()) or call.opts["force"]:
            moment = times.now()
            status["conditions"] = [*known, {
                "type": kind, "status": "True", "reason": reason, "message": message, "lastUpdateTime": moment,
                "lastTransitionTime": moment,
            }]  # fmt: skip
            obj = _put(call, info)
        writes.show(call, obj, kind.lower(), dry_run="none")
    return 0


def _put(call: Call, info: Info) -> builder.Json:
    path = info.resource.path("", info.name, "approval")
    found: builder.Json = orjson.loads(call.transport.call("PUT", path, body=info.obj))
    return found


COMMANDS = {
    "certificate": Command(group, "SUBCOMMAND"),
    "certificate approve": Command(approve, "(-f FILENAME | NAME)", FLAGS, "kubectl certificate approve csr-1"),
    "certificate deny": Command(deny, "(-f FILENAME | NAME)", FLAGS, "kubectl certificate deny csr-1"),
}
