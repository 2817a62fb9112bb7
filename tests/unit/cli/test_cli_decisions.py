"""Verbs that refuse before they change anything: `apply --prune`, `apply edit-last-applied`."""

from __future__ import annotations

import pytest
from cli_fake import call

from tiphys.cli.errors import CliError
from tiphys.cli.verbs import apply, apply_last

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "without explicitly passing --all"),
        (["--all", "--prune-allowlist=bad"], "invalid GroupVersionKind format: bad"),
    ],
)
def test_prune_says_what_is_wrong_before_it_applies(tmp_path, words, why):
    source = tmp_path / "a.yaml"
    source.write_text(CONFIG_MAP)
    made, transport = call(["apply", "--prune", "-f", str(source), *words], tmp_path)
    with pytest.raises(CliError, match=why):
        apply.run(made)
    assert not [method for method, _, _ in transport.asked if method != "GET"]


def test_what_was_never_applied_has_nothing_to_edit(tmp_path):
    path = "/api/v1/namespaces/default/configmaps/a"
    live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    made, _ = call(["apply", "edit-last-applied", "cm/a"], tmp_path, {path: live})
    with pytest.raises(CliError, match="set-last-applied --create-annotation"):
        apply_last.edit_last(made)
