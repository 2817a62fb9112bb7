"""UIDs are random UUIDs, and no two are the same."""

from __future__ import annotations

import uuid

from tiphys.api.uid import new_uid


def test_uids_are_version_4_and_differ() -> None:
    found = [new_uid() for _ in range(2000)]
    assert len(set(found)) == len(found)
    parsed = [uuid.UUID(text) for text in found]
    assert all(each.version == 4 and each.variant == uuid.RFC_4122 for each in parsed)
    assert [str(each) for each in parsed] == found
    assert {text[19] for text in found} == set("89ab")
