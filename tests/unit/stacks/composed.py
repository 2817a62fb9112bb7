"""Compose files of tests: written, loaded and translated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiphys.stacks.compose.load import Model, load
from tiphys.stacks.compose.translate import translate
from tiphys.stacks.objects import Facts

FACTS = Facts(("10.0.0.1", "10.0.0.2"))


def model(directory: Path, text: str, **environment: str) -> Model:
    file = directory / "compose.yaml"
    file.write_text(text)
    return load([str(file)], environment)


def objects(directory: Path, text: str, facts: Facts = FACTS, **environment: str) -> dict[tuple[str, str], Any]:
    """By kind and name."""
    found = translate(model(directory, text, **environment), "shop", facts)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def service(directory: Path, fields: str) -> dict[tuple[str, str], Any]:
    """The objects of one service `web`; `fields` is in YAML's flow style."""
    volumes = "volumes: {data: , n: {driver_opts: {type: nfs, o: 'addr=h,ro', device: ':/x'}}}"
    return objects(directory, f"services: {{web: {{image: w, {fields}}}}}\n{volumes}\n")


def pod(found: dict[tuple[str, str], Any], kind: str = "Deployment", name: str = "web") -> Any:
    return found[kind, name]["spec"]["template"]["spec"]
