"""The agents on a real Kafka: exact after SIGKILL, and recovered from the changelog alone."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from producers.cowrie.generator import Plan, lines
from tallystick.contracts import cowrie, slices, stages, topics
from tallystick.contracts.stages import Claimed, Passed, Started
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.support import ROLE, environment, eventually
from tests.warm import Command

AT = "2026-11-23T00:00:00.000000Z"


@contextmanager
def agents(settings: Settings) -> Iterator[Command]:
    process = Command([*ROLE, "agents"], env=environment(settings))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def send(settings: Settings, events: list[bytes], *, source: str, attempt: int = 1) -> None:
    """Send events in slices of 10 lines of a session at most, and claim them."""
    publisher = Publisher(settings, client_id="test")
    key = source.encode()
    ends: dict[int, int] = {}

    def delivered(partition: int, offset: int) -> None:
        ends[partition] = max(ends.get(partition, 0), offset + 1)

    def tell(event: stages.StageEvent) -> None:
        publisher.send(settings.kafka.topic(topics.STAGES), key=key, value=stages.encode(event))

    tell(Started(source, cowrie.KIND, "/log", "read", attempt, AT))
    for start in range(0, len(events), 500):
        grouped: dict[bytes, list[tuple[int, bytes]]] = {}
        for position, line in enumerate(events[start : start + 500], start):
            envelope = cowrie.read_envelope(line)
            grouped.setdefault(cowrie.session_key(envelope.sensor, envelope.session), []).append((position, line))
        for session, items in grouped.items():
            value, headers = slices.encode(
                key, cowrie.SCHEMA, start, [position for position, _ in items], [line for _, line in items]
            )
            publisher.send(
                settings.kafka.topic(cowrie.EVENTS), key=session, value=value, headers=headers, on_delivery=delivered
            )
    publisher.flush()
    counts = {"lines": len(events), "events": len(events), "dead": 0, "blank": 0}
    tell(Claimed(source, cowrie.KIND, "/log", "read", attempt, AT, counts, {cowrie.EVENTS.name: ends}))
    publisher.flush()


def newest(settings: Settings, topic: topics.Topic) -> dict[bytes, bytes]:
    found = read_whole(settings, settings.kafka.topic(topic), client_id="look")
    return {message.key() or b"": message.value() or b"" for message in found}


def sessions(settings: Settings) -> dict[bytes, cowrie.SessionState]:
    return {key: cowrie.decode_state(value) for key, value in newest(settings, cowrie.SESSIONS).items()}


def counted(settings: Settings) -> int:
    return sum(state.event_count for state in sessions(settings).values())


def observed_ends(settings: Settings, source: str) -> bool:
    """Whether the stages agent knows that the sessions agent has passed everything that was claimed of `source`."""
    value = newest(settings, topics.SOURCE_STAGES).get(source.encode())
    state = stages.decode_state(value) if value else stages.SourceState(source)
    shared = state.projections.get("")
    seen = shared.observations.get("sessions") if shared else None
    ends = state.claims["read"].ends[cowrie.EVENTS.name] if "read" in state.claims else None
    if seen is None or ends is None:
        return False
    return all(seen.partitions.get(partition, Passed(0)).offset >= end for partition, end in ends.items())


def test_a_worker_that_is_killed_again_and_again_counts_every_event_once(kafka_settings: Settings) -> None:
    events = [line.rstrip(b"\n") for line in lines(Plan(events=30_000, seed=5))]
    with agents(kafka_settings):
        send(kafka_settings, events[:10_000], source="first")
        eventually(lambda: counted(kafka_settings), until=lambda count: count > 0)
    for _ in range(2):
        with agents(kafka_settings):
            send(kafka_settings, events, source="second")
            eventually(lambda: counted(kafka_settings), until=lambda count: count > 10_000)
    with agents(kafka_settings):
        eventually(lambda: observed_ends(kafka_settings, "second") and observed_ends(kafka_settings, "first"))
    states = sessions(kafka_settings)
    expected: dict[bytes, int] = {}
    for line in events:
        envelope = cowrie.read_envelope(line)
        key = cowrie.session_key(envelope.sensor, envelope.session)
        expected[key] = expected.get(key, 0) + 1
    assert {key: state.event_count for key, state in states.items()} == expected


def test_workers_that_come_and_go_with_many_records_waiting_count_every_event_once(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_AGENTS__CHECKPOINT_RECORDS", "20")
    events = [line.rstrip(b"\n") for line in lines(Plan(events=20_000, seed=7))]
    send(kafka_settings, events, source="s")
    with agents(kafka_settings):
        eventually(lambda: counted(kafka_settings), until=lambda count: count > 0)
        with agents(kafka_settings):
            eventually(lambda: counted(kafka_settings), until=lambda count: count > 10_000)
        eventually(lambda: observed_ends(kafka_settings, "s"), seconds=120)
    assert counted(kafka_settings) == len(events)


def test_the_changelog_alone_brings_the_states_back(kafka_settings: Settings) -> None:
    events = [line.rstrip(b"\n") for line in lines(Plan(events=2_000, seed=6))]
    with agents(kafka_settings):
        send(kafka_settings, events, source="s")
        eventually(lambda: observed_ends(kafka_settings, "s"))
    before = sessions(kafka_settings)
    shutil.rmtree(kafka_settings.home / "state")
    with agents(kafka_settings):
        send(kafka_settings, events, source="again")
        eventually(lambda: observed_ends(kafka_settings, "again"))
    after = sessions(kafka_settings)
    assert {key: state.event_count for key, state in after.items()} == {
        key: state.event_count for key, state in before.items()
    }
    assert all(set(state.sources) == {"s", "again"} for state in after.values())


def test_a_stop_is_clean_and_says_so_by_its_exit_code(kafka_settings: Settings) -> None:
    events = [line.rstrip(b"\n") for line in lines(Plan(events=500, seed=7))]
    with agents(kafka_settings) as process:
        send(kafka_settings, events, source="s")
        eventually(lambda: observed_ends(kafka_settings, "s"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert counted(kafka_settings) == 500


def test_bytes_that_are_no_stage_event_go_to_the_dead_letters_and_harm_nothing(kafka_settings: Settings) -> None:
    publisher = Publisher(kafka_settings, client_id="test")
    publisher.send(kafka_settings.kafka.topic(topics.STAGES), key=b"s", value=b"\xff not JSON")
    publisher.flush()
    with agents(kafka_settings):
        letters = eventually(lambda: newest(kafka_settings, topics.DEAD_LETTERS))
        send(kafka_settings, [], source="s")
        eventually(lambda: b"s" in newest(kafka_settings, topics.STAGE_OUTCOMES))
    letter = msgspec.json.decode(letters[b"s"])
    assert (letter["reason"], letter["origin"]) == ("not a stage event", "stages")
