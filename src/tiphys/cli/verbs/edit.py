"""`edit`: objects in the user's editor, patched with what was changed.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_edit/
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from typing import Any

from tiphys.cli import builder, writes, yamls
from tiphys.cli.builder import Info
from tiphys.cli.command import FILES, MANAGER, OUTPUT, VALIDATE, Call, Command
from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.printers import to_json, without_managed
from tiphys.cli.verbs.set_image import difference

Json = dict[str, Any]
FLAGS = (
    FILES
    + OUTPUT
    + MANAGER
    + VALIDATE
    + """
selector,l str  Label query.
output-patch bool  Show the patch that is sent.
save-config bool  Keep the configuration in the annotation that apply reads.
subresource str  status or scale.
windows-line-endings bool  CRLF in the file.
"""
)
_HEAD = """\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
"""


def run(call: Call) -> int:
    found = list(builder.infos(call, builder.targets(call)))
    if not found:
        raise CliError("edit cancelled, no objects found")
    for info in found:
        _edit(call, info)
    return 0


def _edit(call: Call, info: Info) -> None:
    old = info.obj if call.opts["show-managed-fields"] else without_managed(info.obj)
    as_json = call.opts["output"] == "json"
    shown = to_json(old) if as_json else yamls.dump(old)
    complaint = ""
    while True:
        text = open_editor(_HEAD + complaint + shown, ".json" if as_json else ".yaml")
        body = "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
        if not body.strip():
            raise CliError("Edit cancelled, saved file was empty.", plain=True)
        if body == shown:
            if complaint:
                raise CliError("Edit cancelled, no valid changes were saved.", plain=True)
            call.say("Edit cancelled, no changes made.")
            return
        try:
            new = yamls.load(body)
            patch = difference(old, new)
            if patch:
                manager = call.opts["field-manager"] or "kubectl-edit"
                new = writes.patch(call, info, patch, kind=writes.MERGE, manager=manager,
                                   subresource=call.opts["subresource"])  # fmt: skip
            writes.show(call, new, "edited")
            return
        except (ServerError, ValueError) as error:
            complaint = "".join(f"# {line}\n" for line in str(error).splitlines()) + "#\n"
            shown = body


def open_editor(text: str, suffix: str) -> str:
    """The text after the user's editor has closed. Raises CliError."""
    editor = os.environ.get("KUBE_EDITOR") or os.environ.get("EDITOR") or "vi"
    handle, path = tempfile.mkstemp(prefix="kubectl-edit-", suffix=suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # The variable may hold a program with arguments; no shell reads it.
        done = subprocess.run([*shlex.split(editor), path], check=False)  # noqa: S603
        if done.returncode:
            raise CliError(f"there was a problem with the editor {editor!r}")
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise CliError(f"unable to launch the editor {editor!r}") from None
    finally:
        os.unlink(path)


COMMANDS = {"edit": Command(run, "(TYPE NAME | -f FILENAME)", FLAGS, "KUBE_EDITOR=nano kubectl edit deploy/web")}
