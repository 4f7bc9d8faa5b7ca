"""The bridge to Redis on a real Kafka and a real Redis: nothing is lost when a stream is full, or when either ends."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from tallystick.contracts import atproto, topics
from tallystick.contracts.atproto import Action, Commit, Fetch, Label, Op
from tallystick.contracts.tids import tid_at
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.integration.test_agents import newest
from tests.redis_server import Server, redis_server
from tests.support import ROLE, environment, eventually

TIME = "2026-11-26T00:00:00.000000Z"
DIDS = [f"did:plc:{number}" for number in range(20)]
MARK, BATCH, COMMITS = 60, 10, 15


@pytest.fixture
def server() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@contextmanager
def bridge(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*ROLE, "atproto-redis"], env=environment(settings), stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def send(settings: Settings, topic: topics.Topic, key: str, *values: object) -> None:
    publisher = Publisher(settings, client_id="test")
    for value in values:
        encoded = value if isinstance(value, bytes) else atproto.encode(value)
        publisher.send(settings.kafka.topic(topic), key=key.encode(), value=encoded)
    publisher.flush()


def commit(did: str, number: int) -> Commit:
    ops = tuple(Op(Action.CREATE, "a.b.c", str(place), "bafyr", record=msgspec.Raw(b"{}")) for place in (0, 1))
    return Commit(did, tid_at(number), "relay", "bafyc", "bafyd", ops, seq=number, time=TIME)


class Consumer:
    """Takes entries out of a stream, as a consumer of rsky-ingester does."""

    def __init__(self, server: Server, stream: str, field: bytes) -> None:
        self._client, self._stream, self._field = server.client, stream, field
        self.taken: list[Any] = []

    def length(self) -> int:
        return int(self._client.xlen(self._stream))

    def take(self, most: int) -> int:
        """Take up to `most` entries; return how many were taken so far, each counted once."""
        found: Any = self._client.xrange(self._stream, count=most)
        for name, fields in found:
            self.taken.append(json.loads(fields[self._field]))
            self._client.xdel(self._stream, name)
        return len({json.dumps(event, sort_keys=True) for event in self.taken})


def test_every_event_comes_to_redis_in_order_whatever_is_full_or_killed(
    kafka_settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_ATPROTO__REDIS_URL", server.url)
    monkeypatch.setenv("TALLY_ATPROTO__REDIS_HIGH_WATER", str(MARK))
    monkeypatch.setenv("TALLY_ATPROTO__REDIS_BATCH", str(BATCH))
    for did in DIDS:
        # As of two relays: each commit twice.
        send(kafka_settings, atproto.COMMITS, did, *(commit(did, n) for n in range(1, COMMITS + 1) for _ in (0, 1)))
    send(kafka_settings, atproto.COMMITS, "x", b"\xff no JSON")
    label = Label(src=DIDS[0], uri="at://did:plc:0/a.b.c/0", val="spam", cts=TIME, neg=True)
    send(kafka_settings, atproto.LABELS, label.uri, label)
    send(kafka_settings, atproto.FETCHES, DIDS[0], Fetch(DIDS[0], "listed", TIME, rev=tid_at(1)))
    events = Consumer(server, "firehose_live", b"event")
    labels, repositories = Consumer(server, "label_live", b"labels"), Consumer(server, "repo_backfill", b"repo")
    most = MARK + 2 * BATCH
    with bridge(kafka_settings):
        eventually(events.length, until=lambda length: length >= MARK)
        # The others go on while one stream is full.
        eventually(lambda: labels.take(9))
        eventually(lambda: repositories.take(9))
        eventually(lambda: events.take(30), until=lambda taken: taken > 150)
        assert events.length() <= most
    with bridge(kafka_settings):
        eventually(lambda: events.take(30), until=lambda taken: taken > 300)
        server.stop()
        server.start()
        eventually(lambda: events.take(100), until=lambda taken: taken == 2 * len(DIDS) * COMMITS)
        eventually(lambda: newest(kafka_settings, topics.DEAD_LETTERS), until=lambda letters: b"x" in letters)
    assert (labels.taken[0]["labels"][0]["neg"], repositories.taken[0]["host"]) == (True, "https://bsky.network")
    for did in DIDS:
        places = [(event["rev"], event["rkey"]) for event in events.taken if event["did"] == did]
        assert list(dict.fromkeys(places)) == sorted(set(places))
    # What was written when the role was killed comes once more, and the repeats of a second relay don't.
    assert len(events.taken) <= 2 * len(DIDS) * COMMITS + 3 * 2 * BATCH + MARK


def test_a_redis_that_is_not_named_is_told_and_not_tried_again(kafka_settings: Settings) -> None:
    ended = subprocess.run(
        [*ROLE, "atproto-redis"], env=environment(kafka_settings), capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 78
    assert b"TALLY_ATPROTO__REDIS_URL" in ended.stderr
