"""`plugin list`: programs on the path whose names begin with `kubectl-`."""

from __future__ import annotations

import os

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError, UsageError


def run(call: Call) -> int:
    if call.args != ["list"]:
        raise UsageError("unknown plugin command; `kubectl plugin list` is the only one")
    found = []
    for directory in dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)):
        try:
            names = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        found += [os.path.join(directory, name) for name in names if name.startswith("kubectl-")]
    if not found:
        raise CliError("unable to find any kubectl plugins in your PATH")
    call.say("The following compatible plugins are available:\n")
    for path in found:
        call.say(path)
    return 0


COMMANDS = {"plugin": Command(run, "list")}
