"""The environment that Kubernetes v1.36 gives to expressions: which libraries there are.

Source: upstream's `apiserver/pkg/cel/environment/base.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from tiphys.api.cel.checker import ResolveKind
from tiphys.api.cel.declare import Library
from tiphys.api.cel.environment import Environment
from tiphys.api.cel.library.collections import COLLECTIONS
from tiphys.api.cel.library.kubernetes import KUBERNETES
from tiphys.api.cel.library.network import NETWORK
from tiphys.api.cel.library.strings import STRINGS
from tiphys.api.cel.types import Type

# What the evaluations of one request may cost together, and those of the match conditions of one webhook or policy.
RUNTIME_BUDGET = 10_000_000
MATCH_CONDITIONS_BUDGET = 2_500_000


def environment(
    variables: Mapping[str, Type], *libraries: Library, resolve_kind: ResolveKind | None = None
) -> Environment:
    """Kubernetes' libraries and `libraries`, with these variables; `resolve_kind` knows further types of structs."""
    return _base(libraries, resolve_kind).extend(variables)


@lru_cache(maxsize=8)
def _base(libraries: tuple[Library, ...], resolve_kind: ResolveKind | None) -> Environment:
    known = resolve_kind or (lambda name: None)
    return Environment({}, COLLECTIONS, STRINGS, NETWORK, KUBERNETES, *libraries, resolve_kind=known)
