"""Re-keying what Cowrie's own Kafka output writes: every record once, by session, with a cursor and nothing lost."""

import json
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from producers.checkpoints import read_checkpoints
from producers.cowrie.limits import TooManyDeadLetters
from producers.cowrie.plan import Begin, Plan, Until
from producers.cowrie.rekey import rekey
from tallystick.contracts import dead_letters, slices, stages
from tallystick.contracts.cowrie import EVENTS, read_session_key
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.sources import Checkpoint
from tallystick.contracts.stages import Claimed, Failed, StageEvent, Started
from tallystick.contracts.topics import DEAD_LETTERS, STAGES
from tallystick.errors import ServiceError, UsageError
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tests import sample
from tests.foreign import SAMPLE_RECORDS, Foreign, foreign_topic
from tests.sinks import stopping
from tests.support import eventually


def event(number: int, **fields: object) -> bytes:
    named = {"eventid": "cowrie.x", "timestamp": "2026-11-23T03:43:43Z", "session": f"s{number % 7}", "n": number}
    return json.dumps({**named, **fields}).encode()


def as_line(record: bytes) -> bytes:
    return json.dumps(json.loads(record), separators=(",", ":")).encode()


@pytest.fixture
def cowrie(kafka_settings: Settings) -> Iterator[Foreign]:
    with foreign_topic(kafka_settings) as topic:
        yield topic


def to_end(settings: Settings, topic: Foreign, **more: str | Begin) -> None:
    """Re-key the topic up to the end that it has now."""
    plan = Plan(topic=topic.name, until=Until.END, **more)  # type: ignore[arg-type]
    rekey(settings, plan, lambda: False)


class Held:
    """What our topics hold now."""

    def __init__(self, settings: Settings) -> None:
        self.events: list[tuple[str, str, bytes]] = []
        self.positions: Counter[tuple[str, int]] = Counter()
        for message in read_whole(settings, settings.kafka.topic(EVENTS), client_id="test"):
            found = slices.decode(message.value(), message.headers())  # type: ignore[arg-type]
            place = read_session_key(message.key() or b"")
            self.events += [(*place, line) for line in found.events]
            self.positions.update((found.source, position) for position in found.positions)
        self.letters: list[DeadLetter] = [
            dead_letters.decode(message.value() or b"")
            for message in read_whole(settings, settings.kafka.topic(DEAD_LETTERS), client_id="test")
        ]
        self.said: list[StageEvent] = [
            stages.decode_event(message.value() or b"")
            for message in read_whole(settings, settings.kafka.topic(STAGES), client_id="test")
        ]
        self.checkpoints: dict[str, Checkpoint] = read_checkpoints(settings)

    def lines(self) -> list[bytes]:
        return sorted(line for _, _, line in self.events)

    def counts(self) -> Counter[str]:
        """The counts of the last claim of every source, summed."""
        claims = {said.source: said.counts for said in self.said if isinstance(said, Claimed)}
        return sum((Counter(counts) for counts in claims.values()), Counter())


def test_the_genuine_sample_arrives_by_session_as_the_lines_of_the_log(
    kafka_settings: Settings, cowrie: Foreign
) -> None:
    cowrie.write(SAMPLE_RECORDS)
    to_end(kafka_settings, cowrie)
    held = Held(kafka_settings)
    assert held.lines() == sorted(sample.LINES), "byte for byte what Cowrie writes into its log"
    assert len({(sensor, session) for sensor, session, _ in held.events}) == sample.SESSIONS
    assert held.counts() == {"lines": sample.EVENTS, "events": sample.EVENTS}
    assert set(held.positions.values()) == {1}
    assert {checkpoint.claimed for checkpoint in held.checkpoints.values()} == {True}
    started = [said for said in held.said if isinstance(said, Started)]
    assert {said.name for said in started} == {f"{cowrie.name}/{number}" for number in range(3)}
    assert sum(said.reach.end for said in started if said.reach) == sample.EVENTS


def test_it_goes_on_where_it_was_and_sends_nothing_again(kafka_settings: Settings, cowrie: Foreign) -> None:
    cowrie.write(map(event, range(50)))
    to_end(kafka_settings, cowrie)
    cowrie.write(map(event, range(50, 80)))
    to_end(kafka_settings, cowrie)
    held = Held(kafka_settings)
    assert held.lines() == sorted(as_line(event(number)) for number in range(80))
    assert held.counts() == {"lines": 80, "events": 80}
    assert {checkpoint.attempt for checkpoint in held.checkpoints.values()} == {2}


def test_bad_records_are_letters_and_empty_ones_are_counted(kafka_settings: Settings, cowrie: Foreign) -> None:
    pretty = json.dumps(json.loads(event(1)), indent=2).encode()
    records = [event(0), None, b"junk\xff", b"", b"[1]", pretty, event(2, session=None), event(3, sensor="own")]
    cowrie.write(records, partition=1)
    to_end(kafka_settings, cowrie, sensor="lab")
    held = Held(kafka_settings)
    assert held.counts() == {"lines": 8, "events": 4, "dead": 2, "blank": 2}
    assert sorted((sensor, session) for sensor, session, _ in held.events) == [
        ("lab", ""),
        ("lab", "s0"),
        ("lab", "s1"),
        ("own", "s3"),
    ]
    assert [
        (found.position, found.offset, found.partition, found.topic, found.payload, found.reason)
        for found in held.letters
    ] == [
        (2, 2, 1, cowrie.name, b"junk\xff", "not JSON"),
        (4, 4, 1, cowrie.name, b"[1]", "not a JSON object"),
    ]


def test_a_record_that_is_longer_than_may_be_is_one_letter(kafka_settings: Settings, cowrie: Foreign) -> None:
    reader = kafka_settings.reader.model_copy(update={"max_line_bytes": 1_000})
    cowrie.write([event(0), event(1, input="x" * 2_000), event(2)], partition=0)
    to_end(kafka_settings.model_copy(update={"reader": reader}), cowrie)
    held = Held(kafka_settings)
    assert held.counts() == {"lines": 3, "events": 2, "dead": 1}
    assert [(letter.reason, letter.position) for letter in held.letters] == [("line is too long", 1)]


def test_records_that_expired_before_they_were_read_are_told_everywhere(
    kafka_settings: Settings, cowrie: Foreign
) -> None:
    cowrie.write(map(event, range(10)), partition=2)
    to_end(kafka_settings, cowrie)
    cowrie.write(map(event, range(10, 30)), partition=2)
    cowrie.expire(2, before=25)
    to_end(kafka_settings, cowrie)
    held = Held(kafka_settings)
    assert held.lines() == sorted(as_line(event(number)) for number in [*range(10), *range(25, 30)])
    [letter] = held.letters
    assert (letter.reason, letter.position) == ("records are lost", 10)
    assert letter.detail == f"offsets 10 to 24 of {cowrie.name}/2 expired before they were read"
    [failed] = [said for said in held.said if isinstance(said, Failed)]
    assert letter.detail in failed.reason
    assert held.checkpoints[failed.source].attempt == failed.attempt + 1, "the next attempt goes on"
    assert held.counts() == {"lines": 16, "events": 15, "dead": 1}


def test_what_had_expired_before_anybody_looked_is_no_loss_of_ours(kafka_settings: Settings, cowrie: Foreign) -> None:
    cowrie.write(map(event, range(10)), partition=0)
    cowrie.expire(0, before=4)
    to_end(kafka_settings, cowrie)
    held = Held(kafka_settings)
    assert held.counts() == {"lines": 6, "events": 6}
    assert held.letters == []


def test_from_the_end_only_what_comes_is_taken(kafka_settings: Settings, cowrie: Foreign) -> None:
    cowrie.write(map(event, range(10)))
    to_end(kafka_settings, cowrie, begin=Begin.END)
    cowrie.write(map(event, range(10, 15)))
    to_end(kafka_settings, cowrie, begin=Begin.END)
    assert Held(kafka_settings).lines() == sorted(as_line(event(number)) for number in range(10, 15))


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(kafka_settings: Settings, cowrie: Foreign) -> None:
    cowrie.write(map(event, range(10)), partition=0)
    to_end(kafka_settings, cowrie)
    cowrie.delete()

    def made() -> bool:
        try:
            cowrie.create(3)
        except Exception:  # noqa: BLE001 - the broker is still deleting it
            return False
        return True

    eventually(made)
    cowrie.write(map(event, range(10, 40)), partition=0)
    to_end(kafka_settings, cowrie)
    assert Held(kafka_settings).lines() == sorted(as_line(event(number)) for number in range(40))


def test_it_follows_what_comes_and_tells_its_cursor(kafka_settings: Settings, cowrie: Foreign) -> None:
    reader = kafka_settings.reader.model_copy(update={"heartbeat_seconds": 0.2})
    settings = kafka_settings.model_copy(update={"reader": reader})

    def cursor() -> tuple[int, int]:
        latest = {said.name: said for said in Held(settings).said if isinstance(said, Started)}
        reached = [said.reach for said in latest.values() if said.reach]
        return sum(reach.position for reach in reached), sum(reach.end for reach in reached)

    with stopping(lambda stop: rekey(settings, Plan(topic=cowrie.name), stop)):
        for number in range(3):
            cowrie.write(map(event, range(number * 20, number * 20 + 20)))
            eventually(lambda: len(Held(settings).events), until=lambda seen, n=number: seen == n * 20 + 20)  # type: ignore[misc]
        eventually(cursor, until=lambda seen: seen == (60, 60))
    held = Held(settings)
    assert not [said for said in held.said if isinstance(said, Claimed)], "an endless source claims nothing"
    assert sum(checkpoint.position for checkpoint in held.checkpoints.values()) == 60


def test_two_of_them_share_the_partitions_and_one_takes_over_from_the_other(
    kafka_settings: Settings, cowrie: Foreign
) -> None:
    first_may_stop = threading.Event()
    plan = Plan(topic=cowrie.name)

    def names() -> Counter[str]:
        return Counter(said.name for said in Held(kafka_settings).said if isinstance(said, Started))

    with stopping(lambda stop: rekey(kafka_settings, plan, lambda: stop() or first_may_stop.is_set())):
        eventually(lambda: len(names()), until=lambda seen: seen == 3)
        with stopping(lambda stop: rekey(kafka_settings, plan, stop)):
            eventually(lambda: sum(names().values()), until=lambda seen: seen >= 6)
            cowrie.write(map(event, range(100)))
            eventually(lambda: len(Held(kafka_settings).positions), until=lambda seen: seen == 100)
            first_may_stop.set()
            cowrie.write(map(event, range(100, 200)))
            eventually(lambda: len(Held(kafka_settings).positions), until=lambda seen: seen == 200)
    held = Held(kafka_settings)
    assert {*held.lines()} == {as_line(event(number)) for number in range(200)}


def test_what_can_not_be_rekeyed_is_refused(kafka_settings: Settings) -> None:
    with pytest.raises(ServiceError, match="there is no topic 'nowhere'"):
        rekey(kafka_settings, Plan(topic="nowhere"), lambda: False)
    with pytest.raises(UsageError, match="a topic of ours"):
        rekey(kafka_settings, Plan(topic=kafka_settings.kafka.topic(EVENTS)), lambda: False)
    with pytest.raises(UsageError, match="sensor"):
        rekey(kafka_settings, Plan(topic="cowrie", sensor="a\nb"), lambda: False)


def test_a_topic_of_which_most_is_no_events_fails_loudly(kafka_settings: Settings, cowrie: Foreign) -> None:
    reader = kafka_settings.reader.model_copy(update={"max_dead_after": 50})
    settings = kafka_settings.model_copy(update={"reader": reader})
    cowrie.write(map(event, range(40)), partition=0)
    to_end(settings, cowrie)
    cowrie.write([b"junk %d" % number for number in range(100)], partition=0)
    with pytest.raises(TooManyDeadLetters, match="100 of 140 lines are no events"):
        to_end(settings, cowrie)
    held = Held(settings)
    [failed] = [said for said in held.said if isinstance(said, Failed)]
    assert failed.name == f"{cowrie.name}/0"
    assert "set reader.max_dead_share higher" in failed.reason
    assert held.letters == [], "the dead letters are not filled with it"
    raised = settings.model_copy(update={"reader": reader.model_copy(update={"max_dead_share": 1.0})})
    to_end(raised, cowrie)
    assert len(Held(raised).letters) == 100
