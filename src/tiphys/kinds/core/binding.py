"""Binding: names the node of a pod; created, never stored."""

from __future__ import annotations

from tiphys.kinds.declare import declare

BINDINGS = declare(
    group="", version="v1", kind="Binding", plural="bindings", verbs=("create",), virtual=True
)  # fmt: skip
