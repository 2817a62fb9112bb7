"""How many pods of which kind each row has, kept as pods come and go: what spreading and affinity ask for.

Pods with the same namespace and labels are one group; a census counts, row by row, the pods of all groups that match.
A census is taken once, when it is first asked for, and follows every change from then on; the least asked for go first.
Terms are the affinity terms of pods that have a place: where such pods are, by term.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiphys.scheduler.matching import Labels, Term, Who
from tiphys.scheduler.pod import PodInfo

Counts = npt.NDArray[np.int64]
_CENSUSES = 1024
_REMEMBERED = 4096


@dataclass(slots=True, eq=False)
class Census:
    who: tuple[Who, ...]
    counts: Counts


@dataclass(slots=True)
class Group:
    namespace: str
    labels: Labels
    deleted: bool
    rows: dict[int, int] = field(default_factory=dict)
    censuses: list[Census] = field(default_factory=list)


@dataclass(slots=True)
class _Holders:
    """Where the pods are that have a term, and how many there are."""

    counts: Counts
    total: int = 0


class Population:
    def __init__(self) -> None:
        self._size = 0
        self._groups: dict[Hashable, Group] = {}
        self._censuses: OrderedDict[tuple[Who, ...], Census] = OrderedDict()
        self._holders: dict[Term, _Holders] = {}
        self._meant: dict[Hashable, tuple[Term, ...]] = {}
        self._namespaces: dict[str, Labels] = {}

    def grow(self, size: int) -> None:
        """There are `size` rows from now on."""
        more = size - self._size
        self._size = size
        everything: list[Census | _Holders] = [*self._censuses.values(), *self._holders.values()]
        for kept in everything:
            kept.counts = np.concatenate([kept.counts, np.zeros(more, np.int64)])

    def set_namespace(self, name: str, labels: Labels | None) -> bool:
        """Take over a namespace's labels, None if it is gone; whether they are news."""
        if self._namespaces.get(name) == labels:
            return False
        if labels is None:
            del self._namespaces[name]
        else:
            self._namespaces[name] = dict(labels)
        self._meant.clear()
        for key in [key for key in self._censuses if any(who.spaces.requirements for who in key)]:
            self._drop(key)
        return True

    def count(self, info: PodInfo, row: int, sign: int) -> None:
        """A pod came to a row (1) or left it (-1)."""
        group = self._group(info)
        left = group.rows.get(row, 0) + sign
        if left:
            group.rows[row] = left
        else:
            del group.rows[row]
            if not group.rows:
                del self._groups[info.group]
        for census in group.censuses:
            census.counts[row] += sign
        for term in info.terms:
            self._count_term(term, row, sign)

    def _count_term(self, term: Term, row: int, sign: int) -> None:
        holders = self._holders.get(term)
        if holders is None:
            holders = self._holders[term] = _Holders(np.zeros(self._size, np.int64))
            self._meant.clear()
        holders.counts[row] += sign
        holders.total += sign
        if not holders.total:
            del self._holders[term]
            self._meant.clear()

    def census(self, who: Iterable[Who]) -> Counts:
        """Row by row, the pods that every one of `who` matches. Not to be written to."""
        key = tuple(who)
        known = self._censuses.get(key)
        if known is not None:
            self._censuses.move_to_end(key)
            return known.counts
        if len(self._censuses) >= _CENSUSES:
            self._drop(next(iter(self._censuses)))
        census = self._censuses[key] = Census(key, np.zeros(self._size, np.int64))
        for group in self._groups.values():
            if self._counts(census, group):
                group.censuses.append(census)
                census.counts[list(group.rows)] += list(group.rows.values())
        return census.counts

    def meant_by(self, info: PodInfo) -> tuple[Term, ...]:
        """The terms of pods that have a place which mean this pod."""
        if not self._holders:
            return ()
        key = (info.pod.metadata.namespace, info.group[1])
        known = self._meant.get(key)
        if known is None:
            if len(self._meant) > _REMEMBERED:
                self._meant.clear()
            known = self._meant[key] = tuple(term for term in self._holders if self.means(term.who, info))
        return known

    def holders(self, term: Term) -> Counts:
        """Row by row, how many pods have the term. Not to be written to."""
        return self._holders[term].counts

    def means(self, who: Who, info: PodInfo) -> bool:
        meta = info.pod.metadata
        return who.matches(meta.namespace, meta.labels, self._labels_of(meta.namespace))

    def _group(self, info: PodInfo) -> Group:
        known = self._groups.get(info.group)
        if known is None:
            meta = info.pod.metadata
            known = self._groups[info.group] = Group(meta.namespace, meta.labels, info.pod.deleted)
            known.censuses = [census for census in self._censuses.values() if self._counts(census, known)]
        return known

    def _counts(self, census: Census, group: Group) -> bool:
        spaces = self._labels_of(group.namespace)
        return all(
            not (who.living and group.deleted) and who.matches(group.namespace, group.labels, spaces)
            for who in census.who
        )

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        # A namespace of which nothing is known yet has the label that all have.
        return self._namespaces.get(namespace) or {"kubernetes.io/metadata.name": namespace}

    def _drop(self, key: tuple[Who, ...]) -> None:
        census = self._censuses.pop(key)
        for group in self._groups.values():
            if census in group.censuses:
                group.censuses = [each for each in group.censuses if each is not census]
