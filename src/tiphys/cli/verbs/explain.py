"""`explain`: the fields of a resource, from the server's OpenAPI v3.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_explain/
"""

from __future__ import annotations

import textwrap
from typing import Any

import orjson

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = """
recursive bool  All fields below, without descriptions.
api-version str  Of this version.
output,o str=plaintext  Format: plaintext.
"""
_WIDTH = 80


def run(call: Call) -> int:
    if len(call.args) != 1:
        raise CliError("You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete "
                       "list of supported resources.")  # fmt: skip
    word, *fields = call.args[0].split(".") if call.args[0].count(".") else [call.args[0]]
    try:
        resource = call.discovery.find(word)
    except CliError as error:
        raise CliError(error.message, plain=True) from None
    version = call.opts["api-version"] or resource.api_version
    root = f"/openapi/v3/{'apis/' if '/' in version else 'api/'}{version}"
    schemas: Json = orjson.loads(call.transport.call("GET", root))["components"]["schemas"]
    group, _, number = version.rpartition("/")
    gvk = {"group": group, "version": number, "kind": resource.kind}
    top = next((s for s in schemas.values() if gvk in (s.get("x-kubernetes-group-version-kind") or ())), None)
    if top is None:
        raise CliError(f'couldn\'t find resource for "{version}, Kind={resource.kind}"')
    if group:
        call.say(f"GROUP:      {group}")
    call.say(f"KIND:       {resource.kind}")
    call.say(f"VERSION:    {number}\n")
    _explain(call, schemas, top, fields)
    return 0


def _explain(call: Call, schemas: Json, node: Json, fields: list[str]) -> None:
    at = node
    for name in fields:
        inner = _inner(schemas, at)
        properties = inner.get("properties") or {}
        if name not in properties:
            raise CliError(f'field "{name}" does not exist')
        at = properties[name]
    if fields:
        call.say(f"FIELD: {fields[-1]} <{_type(schemas, at)}>\n\n")
    inner = _inner(schemas, at)
    call.say("DESCRIPTION:")
    # A list shows what it is and what its items are; anything else what its type is.
    both = (at.get("description"), inner.get("description"))
    texts = [text for text in dict.fromkeys(both) if text]
    for text in texts if at.get("type") == "array" else texts[-1:] or ["<empty>"]:
        call.out.write(_wrapped(text, 4))
    properties = inner.get("properties") or {}
    if properties:
        call.say("    \nFIELDS:")
        _fields(call, schemas, inner, 2, frozenset())
        call.say("")
    else:
        call.say("    \n")


def _fields(call: Call, schemas: Json, node: Json, indent: int, seen: frozenset[str]) -> None:
    required = node.get("required") or ()
    for name, child in sorted((node.get("properties") or {}).items()):
        mark = " -required-" if name in required else ""
        pad = " " * indent
        call.say(f"{pad}{name}\t<{_type(schemas, child)}>{mark}")
        if call.opts["recursive"]:
            reference = _reference(child)
            if reference not in seen:
                _fields(call, schemas, _inner(schemas, child), indent + 2, seen | ({reference} if reference else set()))
            continue
        if child.get("enum"):
            call.say(f"{pad}enum: {', '.join(map(str, child['enum']))}")
        call.out.write(_wrapped(child.get("description") or "<no description>", indent + 2))
        call.say("")


def _reference(node: Json) -> str:
    """The name of the schema that a field, or the items of a list or map, are of."""
    for candidate in (node, *(node.get("allOf") or ())):
        if "$ref" in candidate:
            return str(candidate["$ref"]).rpartition("/")[2]
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            return _reference(node[key])
    return ""


def _inner(schemas: Json, node: Json) -> Json:
    reference = _reference(node)
    if reference:
        found: Json = schemas.get(reference) or {}
        return found
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            return _inner(schemas, node[key])
    return node


def _type(schemas: Json, node: Json) -> str:
    if node.get("type") == "array":
        return f"[]{_type(schemas, node.get('items') or {})}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"map[string]{_type(schemas, node['additionalProperties'])}"
    reference = _reference(node)
    if reference:
        known = schemas.get(reference) or {}
        return reference.rpartition(".")[2] if known.get("properties") or not known.get("type") else known["type"]
    return str(node.get("type", "Object"))


def _wrapped(text: str, indent: int) -> str:
    pad = " " * indent
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph, _WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [""]
    return "".join(f"{pad}{line}\n" for line in lines)


COMMANDS = {"explain": Command(run, "TYPE[.FIELD...]", FLAGS, "kubectl explain deployment.spec.strategy")}
