"""The reader on a real Kafka: every event once, claims that hold, and a place to go on from on any host."""

import gzip
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from producers.checkpoints import read_checkpoints
from producers.cowrie.reader import read_jobs
from producers.cowrie.selection import job_of_paths
from producers.progress import FileOutcome, Progress
from tallystick.contracts import dead_letters, slices, stages
from tallystick.contracts.cowrie import EVENTS, read_session_key
from tallystick.contracts.slices import Slice
from tallystick.contracts.sources import Ends
from tallystick.contracts.stages import Claimed, Failed, StageEvent, Started
from tallystick.contracts.topics import DEAD_LETTERS, STAGES, Topic
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tests.support import ROLE, environment

SESSIONS = 400
EVENTS_OF_EACH = 10


def content() -> bytes:
    """A log of 4,000 events in 400 sessions, 20 of which are open at a time."""
    lines = []
    for block in range(0, SESSIONS, 20):
        for number in range(EVENTS_OF_EACH):
            for session in range(block, block + 20):
                at = f"2026-11-23T{session // 60:02}:{session % 60:02}:{number:02}.000000Z"
                event = {"eventid": "cowrie.x", "session": f"{session:012x}", "timestamp": at, "sensor": "vm"}
                lines.append(json.dumps({**event, "message": "x" * 100}).encode())
    return b"".join(line + b"\n" for line in lines)


def read(settings: Settings, *paths: Path, sensor: str | None = None) -> list[FileOutcome]:
    job = job_of_paths((), [str(path) for path in paths], sensor=sensor)
    return read_jobs(settings, [job], stop=lambda: False, on_progress=lambda _progress: None)


def with_small_windows(settings: Settings) -> Settings:
    return settings.model_copy(update={"reader": settings.reader.model_copy(update={"window_bytes": 16 * 1024})})


class Topics:
    """What the topics hold now."""

    def __init__(self, settings: Settings) -> None:
        self.stages: list[StageEvent] = [stages.decode_event(value) for _, _, value in _records(settings, STAGES)]
        self.letters = [dead_letters.decode(value) for _, _, value in _records(settings, DEAD_LETTERS)]
        self.events: list[tuple[str, str, bytes]] = []
        self.partitions: dict[bytes, set[int]] = defaultdict(set)
        self.ends: dict[str, Ends] = defaultdict(dict)
        for message in _messages(settings, EVENTS):
            key, partition, offset = message.key() or b"", message.partition() or 0, message.offset() or 0
            found: Slice = slices.decode(message.value(), message.headers())  # type: ignore[arg-type]
            self.events += [(*read_session_key(key), event) for event in found.events]
            self.partitions[key].add(partition)
            self.ends[found.source].setdefault(EVENTS.name, {})[partition] = offset + 1

    def lines(self) -> list[bytes]:
        return [line for _, _, line in self.events]


def _records(settings: Settings, topic: Topic) -> Iterator[tuple[bytes, int, bytes]]:
    for message in _messages(settings, topic):
        yield message.key() or b"", message.partition() or 0, message.value() or b""


def _messages(settings: Settings, topic: Topic) -> list[Message]:
    """Return what a topic holds in an order that doesn't depend on which partition Kafka delivers first."""
    found = read_whole(settings, settings.kafka.topic(topic), client_id="test")
    return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "cowrie.json"
    path.write_bytes(content())
    return path


def test_a_log_arrives_by_session_and_is_claimed_with_the_ends_that_kafka_told(
    kafka_settings: Settings, log: Path
) -> None:
    [outcome] = read(with_small_windows(kafka_settings), log)
    found = Topics(kafka_settings)
    assert sorted(found.lines()) == sorted(content().splitlines())
    for number in range(SESSIONS):
        times = [json.loads(line)["timestamp"] for _, session, line in found.events if session == f"{number:012x}"]
        assert times == sorted(times), "events of a session keep their order"
    assert {len(partitions) for partitions in found.partitions.values()} == {1}
    [started, claim] = found.stages
    assert isinstance(started, Started)
    assert isinstance(claim, Claimed)
    assert claim.counts == outcome.counts
    assert outcome.counts == {"lines": 4_000, "events": 4_000, "dead": 0, "blank": 0, "bytes": len(content())}
    assert claim.ends == found.ends[claim.source]
    assert read_checkpoints(kafka_settings)[claim.source].claimed


def test_one_run_reads_good_and_bad_and_the_next_finds_nothing_new(kafka_settings: Settings, log: Path) -> None:
    copy, damaged, mixed = (log.with_name(name) for name in ("copy.gz", "damaged.json", "mixed.json"))
    copy.write_bytes(gzip.compress(content()))
    damaged.write_bytes(gzip.compress(b"\n" + content())[:-50])
    mixed.write_bytes(b'{"no": "event"}\r\n' + content()[:2_000].rpartition(b"\n")[0] + b"\r\nhalf a li")
    paths = (log, copy, mixed, damaged, log.with_name("nowhere"))
    first = read(kafka_settings, *paths)
    assert [outcome.state for outcome in first] == ["claimed", "claimed", "claimed", "failed", "failed"]
    assert first[0].source == first[1].source
    held = Topics(kafka_settings)
    assert [letter.payload for letter in held.letters if letter.source == first[2].source] == [
        b'{"no": "event"}',
        b"half a li",
    ]
    assert {event.source for event in held.stages if isinstance(event, Failed)} == {first[3].source, first[4].source}
    assert {*held.lines()} == {*content().splitlines()}

    second = read(kafka_settings, *paths)
    assert second[:4] == first[:4]
    assert (second[4].source, second[4].state, second[4].attempt) == (first[4].source, "failed", 2)
    again = Topics(kafka_settings)
    assert (again.events, again.letters) == (held.events, held.letters)
    assert sum(isinstance(event, Started) for event in again.stages) == sum(
        isinstance(event, Started) for event in held.stages
    )


def test_a_reader_that_was_stopped_goes_on_where_it_was(
    kafka_settings: Settings, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.cowrie.reading._PROGRESS_SECONDS", 0.0)
    settings = with_small_windows(kafka_settings)
    seen: list[Progress] = []

    def stop() -> bool:
        return bool(seen) and seen[-1].events > 1_000

    [first] = read_jobs(settings, [job_of_paths((), [str(log)], sensor=None)], stop=stop, on_progress=seen.append)
    assert (first.state, seen[-1].state) == ("interrupted", "interrupted")
    assert 1_000 < first.counts["events"] < 4_000
    log.rename(log.with_name("renamed"))
    [second] = read(settings, log.with_name("renamed"))
    assert (second.state, second.source, second.attempt) == ("claimed", first.source, 2)
    found = Topics(kafka_settings)
    assert sorted(found.lines()) == sorted(content().splitlines()), "what was acknowledged is not sent again"
    claim = found.stages[-1]
    assert isinstance(claim, Claimed)
    assert claim.ends == found.ends[claim.source]


def test_a_reader_that_nobody_listens_to_any_more_stops_and_fails_no_log(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(content())
    listening, told = os.pipe()
    os.close(listening)
    done = subprocess.run([*ROLE, "reader", str(log)], env=environment(kafka_settings), stdout=told, check=False)
    os.close(told)
    assert done.returncode == 143
    assert not [said for said in Topics(kafka_settings).stages if isinstance(said, Failed)]
