"""What is printed: tables, YAML, JSON, templates, columns."""

from __future__ import annotations

import pytest

from tiphys.api.time import age
from tiphys.cli.errors import CliError
from tiphys.cli.printers import number, to_json, without_managed
from tiphys.cli.printers.columns import CustomColumns
from tiphys.cli.printers.gotemplate import compile_template
from tiphys.cli.printers.jsonpath import printer
from tiphys.cli.printers.sorting import sort_objects
from tiphys.cli.printers.table import TablePrinter
from tiphys.cli.tabs import align
from tiphys.cli.yamls import dump

POD = {
    "kind": "Pod", "metadata": {"name": "a", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "i:2"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}], "restarts": 3},
}  # fmt: skip
TABLE = {
    "columnDefinitions": [
        {"name": "Name", "format": "name", "priority": 0}, {"name": "Ready", "priority": 0},
        {"name": "Node", "priority": 1},
    ],
    "rows": [
        {"cells": ["a", "1/1", "n"], "object": {"metadata": {"namespace": "x", "labels": {"app": "web"}}}},
        {"cells": ["long-name", None, "n"], "object": {"metadata": {"namespace": "x"}}},
    ],
}  # fmt: skip


def test_a_table_has_columns_as_wide_as_needed():
    assert TablePrinter({}).lay(TABLE) == "NAME        READY\na           1/1\nlong-name   <none>\n"


def test_a_table_can_show_more():
    options = {"output": "wide", "label-columns": ["app"], "show-labels": True}
    text = TablePrinter(options, prefix="pod", namespaced=True).lay(TABLE)
    assert text.splitlines() == [
        "NAMESPACE   NAME            READY    NODE   APP   LABELS",
        "x           pod/a           1/1      n      web   app=web",
        "x           pod/long-name   <none>   n            <none>",
    ]


def test_titles_come_once_and_columns_keep_their_width():
    printer_ = TablePrinter({})
    printer_.lay(TABLE)
    again = {"rows": [{"cells": ["b", "0/1", "n"], "object": {}}]}
    assert printer_.lay(again) == "b           0/1\n"


def test_columns_are_of_neighbouring_lines_only():
    assert align("a\tb\nlonger\tc\nno tab\nx\ty\n", minimum=0, padding=2) == "a       b\nlonger  c\nno tab\nx  y\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": []}, "a: []\nb: 1\n"),
        ({"a": ["x", {"k": "v"}]}, "a:\n- x\n- k: v\n"),
        ({"a": "true", "b": "123", "c": "", "d": "1.5"}, 'a: "true"\nb: "123"\nc: ""\nd: "1.5"\n'),
        ({"a": "x: y", "b": "- z", "t": "2026-01-02T03:04:05Z"}, "a: 'x: y'\nb: '- z'\nt: \"2026-01-02T03:04:05Z\"\n"),
        ({"a": "one\ntwo\n"}, "a: |\n  one\n  two\n"),
        ({"a": None, "b": True, "c": 1.0, "y": 0.5}, 'a: null\nb: true\nc: 1\n"y": 0.5\n'),
    ],
)
def test_yaml_as_go_writes_it(value, text):
    assert dump(value) == text


def test_json_as_go_writes_it():
    assert to_json({"b": "<&>", "a": {}, "f": 2.0}) == (
        '{\n    "a": {},\n    "b": "\\u003c\\u0026\\u003e",\n    "f": 2\n}\n'
    )
    assert number(0.25) == "0.25"


def test_managed_fields_are_left_out_of_lists_too():
    obj = {"metadata": {"name": "a", "managedFields": []}}
    assert without_managed({"kind": "List", "items": [obj]})["items"] == [{"metadata": {"name": "a"}}]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.metadata.name}", "a"),
        ("{.metadata.name}{'\\n'}", "a\n"),
        ('{range .spec.containers[*]}{.name}={.image}{"\\t"}{end}', "c=i:1\td=i:2\t"),
        ("{.spec.containers[*].name}", "c d"),
        ("{.spec.containers[-1].name}", "d"),
        ("{.status.conditions[?(@.type=='Ready')].status}", "True"),
        ("{.metadata.labels}", '{"app":"web"}'),
        ("{.nope.nope}", ""),
        ("n: {.status.restarts}", "n: 3"),
        ("{.kind} {.metadata['name']}", "Pod a"),
    ],
)
def test_jsonpath(template, text):
    assert printer(template)(POD) == text


@pytest.mark.parametrize("template", ["{.a", "{end}", "{range .a}"])
def test_jsonpath_that_does_not_parse(template):
    with pytest.raises(CliError):
        printer(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.metadata.name}}", "a"),
        ("{{range .spec.containers}}{{.name}},{{end}}", "c,d,"),
        ("{{range $i, $c := .spec.containers}}{{$i}}{{$c.name}}{{end}}", "0c1d"),
        ('{{if eq .kind "Node"}}n{{else if eq .kind "Pod"}}p{{else}}?{{end}}', "p"),
        ("{{with .nope}}x{{else}}none{{end}} {{.nope}}", "none <no value>"),
        ('{{len .spec.containers | printf "%03d"}} {{index .metadata.labels "app"}}', "002 web"),
        ("a {{- /* said */ -}} b", "ab"),
        ("{{$x := .kind}}{{$x}}{{with index .spec.containers 1}}{{.name}}{{end}}", "Podd"),
    ],
)
def test_go_template(template, text):
    assert compile_template(template)(POD) == text


def test_custom_columns():
    columns = CustomColumns("NAME:.metadata.name,IMAGES:{.spec.containers[*].image},NO:.nope,L:metadata.labels")
    assert columns.titles == ["NAME", "IMAGES", "NO", "L"]
    assert columns.cells(POD) == ["a", "i:1,i:2", "<none>", "map[app:web]"]


def test_sorting_knows_quantities_and_numbers():
    items = [{"v": "1Gi"}, {"v": "500Mi"}, {}, {"v": "2Gi"}]
    assert [item.get("v") for item in sort_objects(items, ".v")] == [None, "500Mi", "1Gi", "2Gi"]
    with pytest.raises(CliError, match="couldn't find any field"):
        sort_objects([{}], "{.v}")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (119, "119s"), (120, "2m"), (309, "5m9s"), (3600, "60m"), (3 * 3600, "3h"), (9 * 3600, "9h"),
     (3 * 86400, "3d"), (3 * 86400 + 3600, "3d1h"), (800 * 86400, "2y70d")],
)  # fmt: skip
def test_ages(seconds, text):
    assert age(seconds) == text
