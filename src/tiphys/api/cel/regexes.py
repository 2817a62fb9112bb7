"""Regular expressions as RE2 has them: linear in time whatever the pattern, which backtracking is not.

The library is loaded by the first pattern. A pattern is compiled once.
Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tiphys.api.cel.errors import EvalError

# RE2's words for what is wrong, and Go's.
_GO = {
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "trailing \\": "trailing backslash at end of expression",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "bad repetition argument": "invalid repeat count",
    "invalid repetition size": "invalid repeat count",
    "invalid named capture group": "invalid named capture",
}


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """The compiled pattern. Raises EvalError with Go's text."""
    import re2

    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
        head, _, rest = text.partition(": ")
        raise EvalError(f"error parsing regexp: {_GO.get(head, head)}{f': `{rest}`' if rest else ''}") from None


@lru_cache(maxsize=1)
def _options() -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    return options


def search(text: str, pattern: str) -> bool:
    """Whether the pattern matches anywhere in the text."""
    return compiled(pattern).search(text) is not None
