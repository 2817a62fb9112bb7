"""The Strategy that built-in kinds extend: names by the kind's rule, no status at creation, the kind's own checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid
from tiphys.api.resource import Json, Strategy


class KindStrategy(Strategy):
    """Subclasses override `default`, `check` and, calling this one first, `prepare`."""

    # The rule for names; upstream's default is a DNS subdomain.
    name_rule: Callable[[str], Sequence[str]] = staticmethod(names.dns1123_subdomain)
    # Whether a status sent with a creation is dropped.
    status = False

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None and self.status:
            new.pop("status", None)

    def validate(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None:
            yield from self.check_name(new.get("metadata") or {})
        yield from self.check(new, old)

    def check_name(self, meta: Json) -> Iterator[FieldError]:
        """That there is a name, and that it fits into a path, the server checks for every kind."""
        name = meta.get("name") or ""
        rule = type(self).name_rule
        if not name or rule is names.path_segment:
            return
        for problem in rule(name):
            yield invalid("metadata.name", name, problem)
        base = meta.get("generateName")
        if base:
            for problem in names.prefix(lambda value: list(rule(value)), base):
                yield invalid("metadata.generateName", base, problem)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        """What is wrong besides the name."""
        return iter(())


class StatusStrategy(KindStrategy):
    """Of kinds with a status and nothing else of their own."""

    status = True
