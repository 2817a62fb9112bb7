"""Whole objects on standard output: yaml, json, name, jsonpath, go-template, custom-columns.

`make` gives the printer of an `-o`; a printer's function turns one object into text. Source:
https://kubernetes.io/docs/reference/kubectl/#output-options
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.cli.errors import CliError
from tiphys.cli.flags import Options

Json = dict[str, Any]
Printer = Callable[[Json], str]

TEMPLATED = {
    "jsonpath": "jsonpath", "jsonpath-file": "jsonpath", "jsonpath-as-json": "jsonpath", "go-template": "go-template",
    "go-template-file": "go-template", "template": "go-template", "templatefile": "go-template",
    "custom-columns": "custom-columns", "custom-columns-file": "custom-columns",
}  # fmt: skip
_FORMATS = [*TEMPLATED, "json", "name", "yaml"]


def make(opts: Options, *, operation: str = "", extra: tuple[str, ...] = ()) -> Printer:
    """The printer of the options' `-o`. `operation` is what `-o name` and no format append; `extra` more known formats.

    Raises CliError for a format there is none of, or a template that does not parse.
    """
    output: str = opts.get("output") or ""
    keep_managed = bool(opts.get("show-managed-fields"))
    kind, _, argument = output.partition("=")
    if kind in ("json", "yaml"):
        first = [True]
        return lambda obj: _whole(kind, obj if keep_managed else without_managed(obj), first)
    if kind in ("", "name"):
        return lambda obj: _name(obj, operation if not kind else "")
    if kind in TEMPLATED:
        return _templated(kind, argument or opts.get("template") or "", opts)
    allowed = ",".join(sorted({*_FORMATS, *extra}))
    raise CliError(f'unable to match a printer suitable for the output format "{output}", allowed formats are: '
                   f"{allowed}")  # fmt: skip


def _templated(kind: str, text: str, opts: Options) -> Printer:
    if not text:
        raise CliError('template format specified but no template given' if "template" in kind else
                       f"{kind} format specified but no {kind} given")  # fmt: skip
    if kind.endswith("file"):
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise CliError(f"error reading --template {text}, {error.strerror}") from error
    if TEMPLATED[kind] == "jsonpath":
        from tiphys.cli.printers import jsonpath

        return jsonpath.printer(text, as_json=kind == "jsonpath-as-json", lenient=opts["allow-missing-template-keys"])
    if TEMPLATED[kind] == "go-template":
        from tiphys.cli.printers import gotemplate

        return gotemplate.compile_template(text)
    raise CliError("custom columns are of `get` only")


def _whole(kind: str, obj: Json, first: list[bool]) -> str:
    if kind == "json":
        return to_json(obj)
    from tiphys.cli import yamls

    separator = "" if first[0] else "---\n"
    first[0] = False
    return separator + yamls.dump(obj)


def to_json(obj: Any, indent: int | None = 4) -> str:
    """JSON as Go writes it: sorted keys, four spaces, HTML's characters escaped; a newline ends it if indented."""
    import json

    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(_go_numbers(obj), indent=indent, sort_keys=True, ensure_ascii=False, separators=separators)
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text + "\n" if indent else text


def _go_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, dict):
        return {key: _go_numbers(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_go_numbers(child) for child in value]
    return value


def without_managed(obj: Json) -> Json:
    """The object, or the items of the list, without `metadata.managedFields`."""
    if isinstance(obj.get("items"), list) and str(obj.get("kind", "")).endswith("List"):
        return {**obj, "items": [without_managed(item) for item in obj["items"]]}
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _name(obj: Json, operation: str) -> str:
    if isinstance(obj.get("items"), list) and str(obj.get("kind", "")).endswith("List"):
        return "".join(_name(item, operation) for item in obj["items"])
    return f"{title(obj)}{' ' + operation if operation else ''}\n"


def title(obj: Json) -> str:
    """`deployment.apps/web`, from the object's own words."""
    group, slash, _ = str(obj.get("apiVersion", "")).partition("/")
    kind = str(obj.get("kind", "")).lower()
    return f"{kind}{'.' + group if slash else ''}/{(obj.get('metadata') or {}).get('name', '')}"


def number(value: float) -> str:
    """A float as Go's encoders write it: no trailing `.0`."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
