"""`kustomize`: said to be absent, with what to do instead."""

from __future__ import annotations

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError


def run(call: Call) -> int:
    raise CliError("kustomize is not built in; run the kustomize program and pipe its output to `apply -f -`")


COMMANDS = {"kustomize": Command(run, "DIR")}
