"""What every destination of backups promises, and what only a bucket does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fake_s3 import ACCESS, BUCKET, REGION, SECRET, FakeS3, fake_s3

from tiphys.base.clock import VirtualClock
from tiphys.main.backup import history, sigv4
from tiphys.main.backup.archive import Head, Writer
from tiphys.main.backup.destination import Destination, Directory
from tiphys.main.backup.s3 import Bucket, BucketSettings, bucket_settings
from tiphys.main.backup.seal import BackupError
from tiphys.main.backup.segment import SegmentHead
from tiphys.main.backup.shipper import Shipper
from tiphys.main.backup.source import records_of
from tiphys.store.memory import MemoryStore

KEYS = sigv4.Keys(ACCESS, SECRET)


class Impatient(VirtualClock):
    """Waiting takes no time."""

    async def sleep(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
async def s3() -> AsyncIterator[tuple[FakeS3, BucketSettings]]:
    async with fake_s3() as (store, endpoint):
        yield store, BucketSettings(BUCKET, "deep/in side/", endpoint, REGION, KEYS)


@pytest.fixture(params=["directory", "s3"])
async def destination(
    request: pytest.FixtureRequest, tmp_path: Path, s3: tuple[FakeS3, BucketSettings]
) -> AsyncIterator[Destination]:
    made: Destination = Bucket(s3[1], Impatient()) if request.param == "s3" else Directory(tmp_path / "place")
    yield made
    await made.close()


async def content(destination: Destination, name: str) -> bytes:
    return b"".join([block async for block in destination.read(name)])


async def names(destination: Destination, prefix: str = "") -> list[tuple[str, int]]:
    return [(item.name, item.size) for item in await destination.list(prefix)]


async def test_files_are_put_listed_read_and_deleted(destination: Destination, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 2_500_000)
    assert await names(destination) == []
    for name in ("history/0001/base-2", "history/0001/base-1", "backups/a"):
        await destination.put(name, source)
    assert await names(destination, "history/") == [
        ("history/0001/base-1", 2_500_000),
        ("history/0001/base-2", 2_500_000),
    ]
    assert await content(destination, "backups/a") == source.read_bytes()
    await destination.delete("history/0001/base-1")
    await destination.delete("history/0001/base-1")
    assert await names(destination, "history/") == [("history/0001/base-2", 2_500_000)]


async def test_a_file_grows_and_is_one(destination: Destination):
    expected = b""
    for n in range(25):
        await destination.append("history/0001/log-1", b"%d," % n)
        expected += b"%d," % n
    assert await content(destination, "history/0001/log-1") == expected
    await destination.settle("history/0001/log-1")
    assert await names(destination, "history/0001/log") == [("history/0001/log-1", len(expected))]
    assert await content(destination, "history/0001/log-1") == expected
    await destination.settle("history/0001/log-1")
    await destination.delete("history/0001/log-1")
    assert await names(destination) == []


async def test_what_is_not_there_cannot_be_read(destination: Destination):
    with pytest.raises(BackupError):
        await content(destination, "backups/none")


async def test_files_are_private(tmp_path: Path):
    place = Directory(tmp_path / "place")
    (tmp_path / "source").write_bytes(b"x")
    await place.put("a/b", tmp_path / "source")
    await place.append("a/c", b"x")
    await place.close()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "place").rglob("?") if path.is_file()} == {0o600}
    assert (tmp_path / "place" / "a").stat().st_mode & 0o777 == 0o700


async def test_a_full_disk_is_named(tmp_path: Path):
    place = tmp_path / "file"
    place.write_bytes(b"")
    with pytest.raises(BackupError, match=str(place)):
        await Directory(place).append("a", b"x")


async def test_parts_are_merged_and_a_crash_in_between_doubles_nothing(s3: tuple[FakeS3, Any]):
    store, settings = s3
    bucket = Bucket(settings, Impatient())
    for n in range(3):
        await bucket.append("log", b"%d" % n)
    parts = dict(store.objects)
    await bucket.settle("log")
    assert store.objects == {"deep/in side/log/000001-000003": b"012"}
    # As if it had died before it deleted the parts, and another writer had not noticed.
    store.objects.update(parts)
    store.objects["deep/in side/log/000004"] = b"3"
    assert await content(bucket, "log") == b"0123"
    assert await names(bucket) == [("log", 4)]
    await bucket.settle("log")
    assert store.objects == {"deep/in side/log/000001-000004": b"0123"}
    await bucket.close()


async def test_a_store_that_is_busy_is_asked_again(s3: tuple[FakeS3, Any]):
    store, settings = s3
    bucket = Bucket(settings, Impatient())
    store.fail = 3
    await bucket.append("log", b"x")
    assert len(store.requests) == 4
    store.fail = 100
    with pytest.raises(BackupError, match="503 SlowDown"):
        await bucket.append("log", b"x")
    await bucket.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": sigv4.Keys(ACCESS, "wrong")}, "SignatureDoesNotMatch: the secret key is another one"),
        ({"keys": sigv4.Keys("nobody", SECRET)}, "InvalidAccessKeyId"),
        ({"bucket": "elsewhere"}, "NoSuchBucket: make the bucket first"),
    ],
)
async def test_refusals_say_what_to_do(s3: tuple[FakeS3, BucketSettings], change: dict[str, Any], said: str):
    from dataclasses import replace

    bucket = Bucket(replace(s3[1], **change), Impatient())
    with pytest.raises(BackupError, match=said):
        await bucket.list("")
    await bucket.close()


async def test_a_store_that_is_away_is_named():
    bucket = Bucket(BucketSettings(BUCKET, "", "http://127.0.0.1:9", REGION, KEYS), Impatient())
    with pytest.raises(BackupError, match=r"s3://harbour at http://127\.0\.0\.1:9"):
        await bucket.list("")
    await bucket.close()


def test_keys_come_from_a_private_file(tmp_path: Path):
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = S%x\n")
    file.chmod(0o644)
    with pytest.raises(BackupError, match="chmod 600"):
        bucket_settings("s3://harbour/x", "", "", str(file))
    file.chmod(0o600)
    found = bucket_settings("s3://harbour/x/", "http://minio:9000/", "", str(file))
    assert (found.bucket, found.prefix, found.endpoint, found.keys) == (
        "harbour", "x/", "http://minio:9000", sigv4.Keys("A", "S%x"),
    )  # fmt: skip
    file.write_text("[default]\n")
    with pytest.raises(BackupError, match="aws_secret_access_key"):
        bucket_settings("s3://harbour", "", "", str(file))
    with pytest.raises(BackupError, match="names no bucket"):
        bucket_settings("s3:///x", "", "", str(file))


def test_the_example_of_the_specification():
    """GET Object of the documentation's page on signing with the Authorization header."""
    keys = sigv4.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    request = sigv4.Request("GET", "examplebucket.s3.amazonaws.com", "/", {"max-keys": "2", "prefix": "J"}, empty)
    headers = sigv4.sign(request, keys, "us-east-1", 1369353600.0)
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


async def test_a_history_is_shipped_to_it_and_read_back(destination: Destination, tmp_path: Path):
    store, clock = MemoryStore(), VirtualClock()

    async def write_base(path: Path) -> Head:
        revision, pages = await records_of(store)
        writer = Writer(path, Head("harbour", "uid", clock.time(), revision, "memory", "0.1"), None)
        async for page in pages:
            writer.records(page)
        writer.finish()
        return Head("harbour", "uid", clock.time(), revision, "memory", "0.1")

    for n in range(30):
        # Each third time another server takes over.
        if n % 3 == 0:
            shipper = Shipper(store, destination, SegmentHead("harbour", "uid"), write_base, clock, scratch=tmp_path)
            task = asyncio.create_task(shipper.run())
        revision = await store.put(f"/{n % 4}", b"%d" % n)
        async with asyncio.timeout(20):
            while shipper.shipped < revision:
                await clock.advance(0.5)
                await asyncio.sleep(0.001)
        if n % 3 == 2:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    past = await history.read(destination, history.Point(), tmp_path)
    found = {record.key: record.value for batch in past.records() for record in batch}
    assert found == {"/0": b"28", "/1": b"29", "/2": b"26", "/3": b"27"}
    told = [change.value async for change in history.changes(destination, lambda key: key == "/1", tmp_path)]
    assert told == [b"%d" % n for n in range(1, 30, 4)]
