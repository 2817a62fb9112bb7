"""Words of a command line become targets; wrong ones are told of as kubectl does."""

from __future__ import annotations

import pytest
from cli_fake import call

from tiphys.cli import builder
from tiphys.cli.errors import CliError


def titles(words, tmp_path):
    made, _ = call(["get", *words], tmp_path)
    return [(target.resource.full_name, target.namespace, target.name) for target in builder.targets(made)]


@pytest.mark.parametrize("word", ["po", "pod", "pods", "Pod", "PODS"])
def test_every_name_of_a_type(word, tmp_path):
    assert titles([word, "a"], tmp_path) == [("pods", "default", "a")]


def test_types_names_and_slashes(tmp_path):
    assert titles(["po,svc", "-n", "x"], tmp_path) == [("pods", "x", ""), ("services", "x", "")]
    assert titles(["pod/a", "deploy/b"], tmp_path) == [("pods", "default", "a"), ("deployments.apps", "default", "b")]
    assert titles(["node", "n"], tmp_path) == [("nodes", "", "n")]
    assert titles(["pods", "-A"], tmp_path) == [("pods", "", "")]


def test_group_and_version_choose_among_equal_names(tmp_path):
    assert titles(["deployments.example.com", "a"], tmp_path)[0][0] == "deployments.example.com"
    assert titles(["deployments.v1.apps", "a"], tmp_path)[0][0] == "deployments.apps"


def test_a_category_is_all_its_types(tmp_path):
    assert [title[0] for title in titles(["all"], tmp_path)] == ["pods", "services", "deployments.apps"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["foo"], 'the server doesn\'t have a resource type "foo"'),
        (["pods", "a", "-l", "x=y"], "name cannot be provided when a selector is specified"),
        (["pods", "a", "-A"], "a resource cannot be retrieved by name across all namespaces"),
        (["pod/a", "b"], "there is no need to specify a resource type"),
    ],
)
def test_wrong_words(words, message, tmp_path):
    with pytest.raises(CliError, match=message.split("'")[0]):
        titles(words, tmp_path)


def test_files_hold_several_documents_and_lists(tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Node, metadata: {name: n}}\n"
    )
    assert titles(["-f", str(file), "-n", "x"], tmp_path) == [("pods", "x", "a"), ("nodes", "", "n")]


def test_a_file_of_another_namespace_is_refused(tmp_path):
    file = tmp_path / "pod.json"
    file.write_text('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "y"}}')
    with pytest.raises(CliError, match='the namespace from the provided object "y" does not match'):
        titles(["-f", str(file), "-n", "x"], tmp_path)


def test_an_unknown_kind_says_what_to_do(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"apiVersion": "v9", "kind": "Thing", "metadata": {"name": "a"}}')
    with pytest.raises(CliError, match="ensure CRDs are installed first"):
        titles(["-f", str(file)], tmp_path)
