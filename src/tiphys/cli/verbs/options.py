"""`options`: the flags that every verb has."""

from __future__ import annotations

from tiphys.cli.command import GLOBAL_FLAGS, Call, Command
from tiphys.cli.help import options


def run(call: Call) -> int:
    call.say("The following options can be passed to any command:\n")
    for line in options(GLOBAL_FLAGS):
        call.say(line)
    return 0


COMMANDS = {"options": Command(run, "")}
