"""Every verb of the table has its module, and every module's commands parse their own flags."""

from __future__ import annotations

import pytest

from tiphys.cli.command import GLOBAL_FLAGS
from tiphys.cli.entry import find_verb, load
from tiphys.cli.flags import parse, table
from tiphys.cli.help import describe
from tiphys.cli.verbs.table import ALIASES, VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_parses_and_has_help(verb):
    command = load(verb)
    parsed = parse([], table(command.flags + GLOBAL_FLAGS))
    assert parsed.args == []
    assert "Usage:" in describe(verb, command)


@pytest.mark.parametrize(("alias", "verb"), ALIASES.items())
def test_an_alias_leads_to_a_verb(alias, verb):
    assert verb in VERBS
    assert find_verb(alias.split())[0] == verb


def test_flags_may_stand_before_the_verb():
    assert find_verb(["-n", "x", "--context=c", "rollout", "status", "deploy/web"])[0] == "rollout status"
