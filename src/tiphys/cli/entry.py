"""kubectl's command line: finds the verb, reads its flags, runs it, and says what went wrong as kubectl does.

Only the module of the verb that runs is imported. Source: https://kubernetes.io/docs/reference/kubectl/
"""

from __future__ import annotations

import importlib
import os
import sys

from tiphys.cli.command import GLOBAL_FLAGS, Call, Command
from tiphys.cli.errors import CliError, Exit, ManyErrors, ServerError, UsageError, explain
from tiphys.cli.flags import HelpAsked, parse, table
from tiphys.cli.verbs.table import ALIASES, GROUPS, VERBS

_HELP = ("-h", "--help")


def main(words: list[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except Exit as end:
        return end.code
    except BrokenPipeError:
        # Whoever read us has left; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        return 130
    except (CliError, ServerError, ManyErrors) as error:
        return _report(error)


def _report(error: CliError | ServerError | ManyErrors) -> int:
    sys.stdout.flush()
    print(explain(error).rstrip("\n"), file=sys.stderr)
    return error.code if isinstance(error, CliError) else 1


def _run(words: list[str]) -> int:
    verb, rest = find_verb(words)
    if not verb:
        from tiphys.cli.help import overview

        print(overview())
        return 0
    if verb not in VERBS:
        if verb == "help":
            return _help(rest)
        raise CliError(f'unknown command "{verb}" for "kubectl"')
    command = load(verb)
    try:
        own = {flag.name: flag for flag in table(command.flags)}
        shared = {flag.name: flag for flag in table(GLOBAL_FLAGS)}
        parsed = parse(rest, (shared | own).values())
    except HelpAsked:
        return _help(verb.split())
    except UsageError as error:
        raise UsageError(f"{error}\nSee 'kubectl {verb} --help' for usage.") from None
    shadowed = frozenset(own.keys() & shared.keys())
    return command.run(Call(parsed.options, parsed.args, parsed.dash, shadowed=shadowed))


def _help(words: list[str]) -> int:
    from tiphys.cli.help import describe, overview

    verb = find_verb(words)[0]
    print(describe(verb, load(verb)) if verb in VERBS else overview())
    return 0


def load(verb: str) -> Command:
    """The command of a verb in the table."""
    module = importlib.import_module(f"tiphys.cli.verbs.{VERBS[verb][0]}")
    command: Command = module.COMMANDS[verb]
    return command


def find_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb that `words` start with, flags aside, in full, and all other words; "" where there is none."""
    verb, rest = _take(words, GLOBAL_FLAGS)
    verb = ALIASES.get(verb, verb)
    while verb in GROUPS:
        word, left = _take(rest, load(verb).flags + GLOBAL_FLAGS)
        longer = ALIASES.get(f"{verb} {word}", f"{verb} {word}")
        if longer not in VERBS:
            break
        verb, rest = longer, left
    return verb, rest


def _take(words: list[str], flags: str) -> tuple[str, list[str]]:
    """The first word that is neither a flag nor a flag's value, and the words without it."""
    known = {}
    for flag in table(flags):
        known[f"--{flag.name}"] = flag
        if flag.short:
            known[f"-{flag.short}"] = flag
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            return word, words[:at] + words[at + 1 :]
        found = known.get(word)
        at += 2 if found is not None and not found.bare else 1
    return "", words
