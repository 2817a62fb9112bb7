"""Writes `src/tiphys/api/wire.json`: the protobuf field numbers of the built-in types, as facts.

Usage: generate_wire.py API APIMACHINERY APIEXTENSIONS_APISERVER KUBE_AGGREGATOR, checkouts of the staging repositories
of the Kubernetes version that is served. The numbers stand in the tags of the Go structs. Each type is one line of
`NUMBER FLAG NAME`: flag `:` is a plain field, `*` one that may be absent (a Go pointer, so that its zero counts), `>` a
struct whose fields stand among the outer one's.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src/tiphys/api/wire.json"
FACTS = TARGET.with_name("facts.json")
_STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r"^\s+(?P<names>[\w.]+(?:\s+[\w.\[\]*]+)?)\s+`json:\"(?P<json>[^\"]*)\"[^`]*?protobuf:\"\w+,(?P<number>\d+)",
    re.MULTILINE,
)
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_IMPORT = {"metav1": _META, "v1": "io.k8s.api.core.v1", "core": "io.k8s.api.core.v1", "corev1": "io.k8s.api.core.v1"}


def packages(api: Path, machinery: Path, extensions: Path, aggregator: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(api.glob("*/v*/types.go")):
        yield f"io.k8s.api.{path.parts[-3]}.{path.parts[-2]}", path
    yield _META, machinery / "pkg/apis/meta/v1/types.go"
    for path in sorted((extensions / "pkg/apis/apiextensions/v1").glob("types*.go")):
        yield "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", path
    path = aggregator / "pkg/apis/apiregistration/v1/types.go"
    yield "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", path


def fields(package: str, body: str) -> Iterator[str]:
    for match in _FIELD.finditer(body):
        name = match["json"].partition(",")[0]
        declared = match["names"].split()
        kind = declared[-1]
        if not name:
            alias, _, short = kind.rpartition(".")
            yield f"{match['number']}>{_IMPORT[alias] if alias else package}.{short}"
        else:
            yield f"{match['number']}{'*' if kind.startswith('*') else ':'}{name}"


def main() -> None:
    table = {}
    for package, path in packages(*map(Path, sys.argv[1:5])):
        for name, body in _STRUCT.findall(path.read_text()):
            found = " ".join(fields(package, body))
            if found:
                table[f"{package}.{name}"] = found
    wanted = set(json.loads(FACTS.read_text())["names"])
    for name in list(wanted):
        wanted.update(re.findall(r">(\S+)", table.get(name, "")))
    table = {name: line for name, line in table.items() if name in wanted}
    TARGET.write_text(json.dumps(table, separators=(",", ":"), indent=0, sort_keys=True) + "\n")
    sys.stdout.write(f"{len(table)} types, {TARGET.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
