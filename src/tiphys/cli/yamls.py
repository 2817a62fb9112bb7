"""YAML in and out. Out is what Go's encoder writes: sorted keys, its rules of quoting, lines folded at 80 columns.

Imported only where YAML is read or written: the library costs more than the rest of a small verb.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tiphys.cli.errors import CliError
from tiphys.cli.printers import number

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# Texts that YAML 1.1 would read back as something that is not a string.
_OTHER = re.compile(
    r"""^(?:~|null|Null|NULL|y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF|<<|
    [-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|
    [-+]?0b[01_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0o[0-7_]+|[-+]?[0-9][0-9_]*|
    [-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|
    [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|
    \d\d\d\d-\d\d?-\d\d?(?:(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::?\d\d)?))?)?)$""",
    re.VERBOSE,
)


class _Reader(_Loader):  # type: ignore[misc]
    """Dates stay the strings that the API wants."""


def _text_of(loader: Any, node: Any) -> str:
    text: str = loader.construct_scalar(node)
    return text


_Reader.add_constructor("tag:yaml.org,2002:timestamp", _text_of)


def load(text: str) -> Any:
    """The only document of `text`. Raises ValueError."""
    try:
        return yaml.load(text, Loader=_Reader)  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        raise ValueError(f"error converting YAML to JSON: {error}") from None


def load_all(text: str, source: str) -> Iterator[Any]:
    """All documents that are not empty. Raises CliError naming `source`."""
    try:
        yield from (document for document in yaml.load_all(text, Loader=_Reader) if document is not None)
    except yaml.YAMLError as error:
        raise CliError(f"error parsing {source}: error converting YAML to JSON: {error}") from None


class _Writer(_BaseDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return "tag:yaml.org,2002:map" if kind is yaml.MappingNode else _SEQUENCE if kind is yaml.SequenceNode else _STR


_STR = "tag:yaml.org,2002:str"
_SEQUENCE = "tag:yaml.org,2002:seq"


def _scalar(dumper: Any, text: str, style: str | None = None) -> Any:
    return dumper.represent_scalar(_STR, text, style=style)


def _string(dumper: Any, text: str) -> Any:
    if "\n" in text:
        return _scalar(dumper, text, "|")
    return _scalar(dumper, text, '"' if not text or _OTHER.match(text) else None)


@cache
def _writer() -> Any:
    _Writer.add_representer(str, _string)
    _Writer.add_representer(bool, lambda dumper, value: _scalar(dumper, "true" if value else "false"))
    _Writer.add_representer(int, lambda dumper, value: _scalar(dumper, str(value)))
    _Writer.add_representer(float, lambda dumper, value: _scalar(dumper, number(value)))
    _Writer.add_representer(type(None), lambda dumper, value: _scalar(dumper, "null"))
    return _Writer


def dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_writer(), default_flow_style=False, allow_unicode=True, width=80)
    return text
