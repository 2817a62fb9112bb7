"""Objects of files, directories and standard input, YAML or JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from tiphys.cli.errors import CliError

Json = dict[str, Any]
_SUFFIXES = (".json", ".yaml", ".yml")


def documents(names: list[str], *, recursive: bool = False) -> Iterator[tuple[Json, str]]:
    """Each object with its source's name ("STDIN" for `-`). Raises CliError for a path or text that cannot be read."""
    for name in names:
        if name == "-":
            yield from parse(sys.stdin.read(), "STDIN")
            continue
        if name.startswith(("http://", "https://")):
            yield from parse(_download(name), name)
            continue
        if not os.path.exists(name):
            raise CliError(f'the path "{name}" does not exist')
        for path in _files(name, recursive=recursive):
            try:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError) as error:
                raise CliError(f"error reading {path}: {error}") from error
            yield from parse(text, path)


def parse(text: str, source: str) -> Iterator[tuple[Json, str]]:
    """The objects of a text. Raises CliError."""
    if text.lstrip().startswith("{"):
        import orjson

        try:
            document = orjson.loads(text)
        except ValueError:
            # Several JSON documents, or YAML in flow style.
            pass
        else:
            yield document, source
            return
    from tiphys.cli import yamls

    for document in yamls.load_all(text, source):
        if not isinstance(document, dict):
            raise CliError(f"error parsing {source}: a document is no mapping but {document!r}")
        yield document, source


def _files(name: str, *, recursive: bool) -> Iterator[str]:
    if not os.path.isdir(name):
        yield name
        return
    for directory, below, found in os.walk(name):
        below.sort()
        if not recursive:
            below.clear()
        yield from (os.path.join(directory, file) for file in sorted(found) if file.endswith(_SUFFIXES))


def _download(url: str) -> str:
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the scheme was checked
            text: str = answer.read().decode()
    except OSError as error:
        raise CliError(f"unable to read URL {url!r}: {error}") from error
    return text
