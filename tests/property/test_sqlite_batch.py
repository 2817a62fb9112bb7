"""Batches of writes against a dict: what stands, what conflicts, and what the file has afterwards."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.store import sqlite_batch, sqlite_file
from tiphys.store.protocol import ABSENT, ANY, Conflict, Record
from tiphys.store.sqlite_batch import Batch, Standing

KEYS = [f"/k{number}" for number in range(12)]
EXPECTS = st.sampled_from(["any", "absent", "right", "wrong"])
WRITES = st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=40)), EXPECTS)


def expected(model: dict[str, Record], key: str, how: str) -> int:
    there = model[key].revision if key in model else ABSENT
    return {"any": ANY, "absent": ABSENT, "right": there, "wrong": there + 99}[how]


@given(st.lists(st.lists(WRITES, max_size=90), max_size=6), st.integers(0, 200))
def test_batches_do_what_single_writes_would(batches, remembered):
    model: dict[str, Record] = {}
    with TemporaryDirectory() as directory:
        connection = sqlite_file.prepare(Path(directory) / "s.db")
        standing, revision = Standing(), 1
        before, sqlite_batch._REMEMBERED = sqlite_batch._REMEMBERED, remembered
        try:
            for writes in batches:
                batch = Batch(standing.of(connection, [key for key, _, _ in writes]), revision)
                for key, value, how in writes:
                    expect, there = expected(model, key, how), model.get(key)
                    answer = batch.apply(key, value, expect)
                    if expect not in (ANY, there.revision if there else ABSENT) or (value is None and there is None):
                        assert isinstance(answer, Conflict)
                        continue
                    revision += 1
                    assert answer == revision
                    assert batch.events[-1].previous == there
                    if value is None:
                        del model[key]
                    else:
                        model[key] = Record(key, value, revision, there.created if there else revision)
                connection.execute("BEGIN IMMEDIATE")
                batch.save(connection)
                connection.execute("COMMIT")
                standing.take(batch.outcome)
                assert {key: record for key in KEYS if (record := sqlite_file.get(connection, key))} == model
        finally:
            sqlite_batch._REMEMBERED = before
            connection.close()


def test_a_failed_statement_is_the_callers():
    batch = Batch({}, 1)
    batch.apply("/a", b"x", ANY)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        batch.save(sqlite3.connect(":memory:"))
