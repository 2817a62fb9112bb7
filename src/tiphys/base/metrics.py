"""Prometheus metrics in text format 0.0.4: counters, gauges and histograms with labels.

Own code because the usual client library costs 3 MiB a process and pulls in an HTTP server; this is a hundred lines.
A metric registers itself once, at import; label values are positional, in the order of `labels`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_all: dict[str, _Metric] = {}


class _Metric:
    kind = ""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        if name in _all:
            raise ValueError(f"metric {name} is registered twice; share the one object")
        self.name, self.text, self.labels = name, text, tuple(labels)
        _all[name] = self

    def samples(self) -> Iterator[str]:
        raise NotImplementedError

    def _line(self, suffix: str, values: Sequence[str], number: float, extra: str = "") -> str:
        pairs = [f'{key}="{_escape(value)}"' for key, value in zip(self.labels, values, strict=True)]
        if extra:
            pairs.append(extra)
        body = "{" + ",".join(pairs) + "}" if pairs else ""
        shown = str(int(number)) if number == int(number) else f"{number:.9g}"
        return f"{self.name}{suffix}{body} {shown}"


class Counter(_Metric):
    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def inc(self, *values: str, by: float = 1.0) -> None:
        self._values[values] = self._values.get(values, 0.0) + by

    def value(self, *values: str) -> float:
        return self._values.get(values, 0.0)

    def samples(self) -> Iterator[str]:
        for values, number in self._values.items():
            yield self._line("", values, number)


class Gauge(Counter):
    kind = "gauge"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._read: Callable[[], float] | None = None

    def set(self, number: float, *values: str) -> None:
        self._values[values] = number

    def max(self, number: float, *values: str) -> None:
        """Keep the largest number seen."""
        self._values[values] = max(number, self._values.get(values, number))

    def read_with(self, read: Callable[[], float]) -> None:
        """Ask `read` at every scrape instead of keeping a number."""
        self._read = read

    def samples(self) -> Iterator[str]:
        if self._read is not None:
            self._values[()] = self._read()
        return super().samples()


class Histogram(_Metric):
    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float]) -> None:
        super().__init__(name, text, labels)
        self._bounds = tuple(buckets)
        self._values: dict[tuple[str, ...], list[float]] = {}

    def observe(self, number: float, *values: str) -> None:
        row = self._values.get(values)
        if row is None:
            # One count for each bound, one for +Inf, then the sum.
            row = self._values[values] = [0.0] * (len(self._bounds) + 2)
        row[bisect_left(self._bounds, number)] += 1
        row[-1] += number

    def samples(self) -> Iterator[str]:
        for values, row in self._values.items():
            total = 0.0
            for bound, count in zip((*self._bounds, float("inf")), row, strict=False):
                total += count
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                yield self._line("_bucket", values, total, f'le="{edge}"')
            yield self._line("_sum", values, row[-1])
            yield self._line("_count", values, total)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render() -> bytes:
    """All metrics of this process, as a scrape answers them."""
    lines: list[str] = []
    for metric in _all.values():
        lines.append(f"# HELP {metric.name} {metric.text}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines.extend(metric.samples())
    return ("\n".join(lines) + "\n").encode()
