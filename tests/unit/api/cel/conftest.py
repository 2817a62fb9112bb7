"""Evaluating an expression in Kubernetes' environment, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Program
from tiphys.api.cel.kubernetes import environment

Evaluate = Callable[..., Any]


def compiled(source: str, **kinds: t.Type) -> Program:
    return environment({"self": t.DYN, **kinds}).compile(source)


@pytest.fixture
def evaluate() -> Evaluate:
    """`evaluate("self + 1", 2)` is 3."""
    return lambda source, value=None: compiled(source).evaluate({"self": value})
