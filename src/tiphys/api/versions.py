"""Names of API versions in order of preference: v10, v2, v1, v11beta2, v10beta3, v3beta1, v12alpha1, foo10, foo2.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
"""

from __future__ import annotations

import re

_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STAGES = {None: 2, "beta": 1, "alpha": 0}


def preference(version: str) -> tuple[int, int, int, int, str]:
    """A key to sort by: the preferred version is the smallest."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return 1, 0, 0, 0, version
    return 0, -_STAGES[match[2]], -int(match[1]), -int(match[3] or 0), ""
