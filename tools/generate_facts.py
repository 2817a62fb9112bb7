"""Generate `src/tiphys/api/facts.json`: the facts of the API's built-in types, without prose.

Reads the definitions that the PyPI package kubernetes-validate carries (`pip install tiphys[prose]`) and writes one
line for each definition: its fields as `name:TYPE[|ATTRIBUTE...]`, separated by blanks. TYPE is
    s string, i int32, l int64, n double, b boolean, y bytes, t time, u micro time, q quantity, x int-or-string,
    o free object, j any JSON, #N the Nth definition, [TYPE a list, {TYPE a map of strings
ATTRIBUTE is
    La, Ls, Lm=KEY,KEY   list type atomic, set, map         Ma, Mg   map type atomic, granular
    P=STRATEGY,STRATEGY  patch strategy                     K=KEY    patch merge key
    D=VALUE              default                            R        required       I  upstream always has the struct
A first field named `*` carries the attributes of the definition itself.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

VERSION = "v1.36.0-local"
TARGET = Path(__file__).parent.parent / "src/tiphys/api/facts.json"

# Types that upstream writes with a codec of their own.
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "x",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "t",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "u",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "o",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "o",
}
FORMATS = {"int32": "i", "int64": "l", "double": "n", "byte": "y", "date-time": "t"}
TYPES = {"string": "s", "integer": "l", "number": "n", "boolean": "b", "object": "o"}

# The source carries no defaults; these are the ones that identify an item of an associative list.
DEFAULTS = {
    ("ContainerPort", "protocol"): "TCP",
    ("ServicePort", "protocol"): "TCP",
    ("LocalObjectReference", "name"): "",
}

# Fields that upstream declares without a pointer and without `omitempty`: there even where nobody wrote them.
INLINE = frozenset((
    "containers", "jobTemplate", "metadata", "resources", "scaleTargetRef", "spec", "status", "strategy",
    "template", "updateStrategy",
))  # fmt: skip


def source() -> Path:
    import kubernetes_validate

    return Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / VERSION / "_definitions.json"


def type_of(node: dict[str, Any], index: dict[str, int]) -> str:
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return SPECIAL.get(name) or (f"#{index[name]}" if name in index else "j")
    kind = node.get("type", "any")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return "[" + type_of(node["items"], index)
    if kind == "object" and "additionalProperties" in node:
        return "{" + type_of(node["additionalProperties"], index)
    return FORMATS.get(node.get("format", "")) or TYPES.get(kind, "j")


def attributes(node: dict[str, Any]) -> list[str]:
    found = []
    if list_type := node.get("x-kubernetes-list-type"):
        keys = ",".join(sorted(node.get("x-kubernetes-list-map-keys", ())))
        found.append(f"L{list_type[0]}" + (f"={keys}" if keys else ""))
    if map_type := node.get("x-kubernetes-map-type"):
        found.append(f"M{map_type[0]}")
    if strategy := node.get("x-kubernetes-patch-strategy"):
        found.append(f"P={strategy}")
    if key := node.get("x-kubernetes-patch-merge-key"):
        found.append(f"K={key}")
    return found


def line(name: str, definition: dict[str, Any], index: dict[str, int]) -> str:
    struct = name.rpartition(".")[2]
    required = definition.get("required", ())
    fields = ["|".join(["*:o", *own])] if (own := attributes(definition)) else []
    for field, node in definition["properties"].items():
        parts = [f"{field}:{type_of(node, index)}", *attributes(node)]
        if (struct, field) in DEFAULTS:
            parts.append(f"D={DEFAULTS[struct, field]}")
        if field in required:
            parts.append("R")
        if field in INLINE and parts[0].rpartition(":")[2][0] in "#[":
            parts.append("I")
        fields.append("|".join(parts))
    return " ".join(fields)


def main() -> None:
    definitions: dict[str, Any] = json.loads(source().read_bytes())["$defs"]
    free_form = re.compile(r"\.JSON(SchemaPropsOr\w+)?$")
    for definition in definitions.values():
        if definition.get("type", [""])[0] == "object" or definition.get("properties"):
            definition.setdefault("properties", {})
    names = sorted(
        n for n, d in definitions.items() if "properties" in d and n not in SPECIAL and not free_form.search(n)
    )
    index = {name: number for number, name in enumerate(names)}
    kinds: dict[str, int] = {}
    for name in names:
        for gvk in definitions[name].get("x-kubernetes-group-version-kind", ())[:1]:
            kinds[f"{gvk['group']}/{gvk['version']}/{gvk['kind']}"] = index[name]
    facts = {"kinds": kinds, "names": names, "types": [line(name, definitions[name], index) for name in names]}
    TARGET.write_text(json.dumps(facts, separators=(",", ":"), indent=0) + "\n")
    sys.stdout.write(f"{len(names)} definitions, {len(kinds)} kinds, {TARGET.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
