"""Help of the command line, from the tables of verbs and flags."""

from __future__ import annotations

from tiphys.cli.command import Command
from tiphys.cli.flags import Flag, table
from tiphys.cli.verbs.table import GROUPS, VERBS


def overview() -> str:
    """All verbs, one a line."""
    lines = ["kubectl's verbs, spoken to any Kubernetes API server.", "", "Verbs:"]
    lines += [f"  {words:<16} {text}" for words, (_, text) in VERBS.items() if " " not in words]
    lines += ["", "Usage:", "  kubectl [flags] [options]", ""]
    lines += ['Use "kubectl VERB --help" for more about a verb, "kubectl options" for the flags of every verb.']
    return "\n".join(lines)


def describe(verb: str, command: Command) -> str:
    """Usage, examples and flags of one verb."""
    lines = [f"{VERBS[verb][1]}."]
    if command.examples:
        lines += ["", "Examples:"] + [f"  {line.strip()}" for line in command.examples.strip().splitlines()]
    if verb in GROUPS:
        lines += ["", "Available Commands:"]
        lines += [
            f"  {words.split()[-1]:<18} {text}" for words, (_, text) in VERBS.items()
            if words.startswith(verb + " ") and len(words.split()) == len(verb.split()) + 1
        ]  # fmt: skip
    flags = options(command.flags)
    if flags:
        lines += ["", "Options:", *flags]
    usage = f"kubectl {verb} {command.usage}".rstrip()
    lines += ["", "Usage:", f"  {usage}", "", 'Use "kubectl options" for the flags of every verb.']
    return "\n".join(lines)


def options(flags: str) -> list[str]:
    """One line a flag."""
    return [_line(flag) for flag in sorted(table(flags), key=lambda flag: flag.name)]


def _line(flag: Flag) -> str:
    default = {"str": f"'{flag.default}'", "opt": f"'{flag.default}'"}.get(flag.kind, str(flag.default).lower())
    short = f"-{flag.short}, " if flag.short else "    "
    return f"    {short}--{flag.name}={default}: {flag.text}"
