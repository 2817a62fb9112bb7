"""The `tiphys` command: our own verbs here, every kubectl verb by way of `tiphys.cli`.

Each verb's module is imported only when it is asked for: the command must answer in under 150 ms.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

# verb -> (module, function, what it does). The function takes the arguments after the verb and returns the exit code.
OWN = {
    "up": ("tiphys.main.up", "up", "start a cluster on this machine; returns when its nodes are Ready"),
    "down": ("tiphys.main.down", "down", "stop a cluster; with --purge remove all that it was"),
    "ls": ("tiphys.main.show", "ls", "list the clusters of this machine"),
    "status": ("tiphys.main.show", "status", "one screen about a cluster"),
    "backup": ("tiphys.main.backup.command", "backup", "write, list, verify or configure backups of a cluster"),
    "store": ("tiphys.main.backup.migrate", "store", "move a cluster's state to etcd"),
    "restore": ("tiphys.main.backup.restoring", "restore", "make a running cluster of a backup"),
    "history": ("tiphys.main.undo.command", "history", "what became of an object, change by change"),
    "undelete": ("tiphys.main.undo.command", "undelete", "create again what was deleted"),
    "rollback": ("tiphys.main.undo.command", "rollback", "have an object or a namespace as it was"),
    "upgrade": ("tiphys.main.upgrade", "upgrade", "put what is installed now to work, process by process"),
    "node": ("tiphys.main.node_command", "node", "take a node out of a cluster"),
    "why": ("tiphys.main.why", "why", "why a pod has no node, and the smallest change that gives it one"),
    "rebalance": ("tiphys.main.rebalance", "rebalance", "move running pods to where the scheduler would put them now"),
    "recommend": ("tiphys.main.recommend", "recommend", "what workloads should request, by what they used"),
    "stack": ("tiphys.main.front_doors.stack", "stack", "run Compose and Swarm stack files: deploy, ls, ps, rm ..."),
    "marathon": ("tiphys.main.front_doors.marathon", "marathon", "run Marathon app and group definitions"),
    "image": ("tiphys.main.image", "image", "import, build or list images of a cluster's nodes"),
    "token": ("tiphys.main.token", "token", "invite a machine: create, list or delete join tokens"),
    "certificates": ("tiphys.main.certificates", "certificates", "when certificates expire; rotate-ca replaces the CA"),
    "service": ("tiphys.main.service", "service", "have systemd start a cluster with the machine, and keep it running"),
    "keep": ("tiphys.main.keep", "keep", "the same in the foreground, for any other init"),
    "server": ("tiphys.main.processes", "server", "run the control plane in the foreground"),
    "agent": ("tiphys.main.processes", "agent", "run the node agent in the foreground"),
}
_USAGE = "usage: tiphys VERB ... (every kubectl verb works, and these of our own)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Linked as `kubectl`, it is kubectl."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.argv[0].endswith("kubectl") and arguments is None:
        return _kubectl(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    verb, rest = words[0], words[1:]
    if verb == "kubectl":
        return _kubectl(rest)
    if verb not in OWN:
        return _kubectl(words)
    module, function, _ = OWN[verb]
    code: int = getattr(importlib.import_module(module), function)(rest)
    return code


def _kubectl(words: list[str]) -> int:
    from tiphys.cli.entry import main as kubectl

    return kubectl(words)


def _help() -> str:
    lines = [_USAGE, ""]
    lines += [f"  {verb:<12} {text}" for verb, (_, _, text) in OWN.items()]
    return "\n".join([*lines, "", "`tiphys kubectl --help` lists kubectl's verbs."])


if __name__ == "__main__":
    raise SystemExit(main())
