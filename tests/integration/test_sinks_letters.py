"""Dead letters in the database, on both: which are stored, chosen and resolved, whatever comes first."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from sinks import letters as stored
from sinks.letters import Choice, Letter, Standing
from sinks.rehearsal import would_refuse
from tallystick.contracts import cowrie, dead_letters, retries, slices
from tallystick.contracts.cowrie import EVENTS
from tallystick.contracts.dead_letters import PIECE_BYTES, DeadLetter, LetterRef, encode_ref
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.database.engine import snapshot
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.sinks import SOURCE, line, query, running, wait_for_rows, wait_until_observed
from tests.support import eventually

RETRY = "retry-00000000000000aa"
OPEN = "SELECT count(*) FROM dead_letter_events WHERE NOT resolved"
HALF = b'{"eventid":"cowrie'
LONG = b"x" * (PIECE_BYTES + 10)


DROP_ALL = {
    "postgresql": (
        "CREATE FUNCTION drop_all() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER drop_all BEFORE INSERT ON raw_events FOR EACH ROW EXECUTE FUNCTION drop_all()",
    ),
    "sqlite": ("CREATE TRIGGER drop_all BEFORE INSERT ON raw_events BEGIN SELECT RAISE(IGNORE); END",),
}
HOSTILE = [
    pytest.param(b"junk", id="no JSON"),
    pytest.param(b'["a",0]', id="too short"),
    pytest.param(b'["a",9223372036854775808,"read","",-1,0,5]', id="a position that no database holds"),
    pytest.param(b'["a",0,"read","",4294967296,0,5]', id="a partition that no database holds"),
    pytest.param(b'["a",0,"read","",-1,0,-9223372036854775809]', id="a digest that no database holds"),
    pytest.param(b'["%s",0,"read","",-1,0,5]' % (b"x" * 3_000), id="a name that no index holds"),
    pytest.param(rb'["a\u0000",0,"read","",-1,0,5]', id="text that PostgreSQL refuses"),
]


def at(second: int) -> str:
    return f"2026-11-23T03:00:{second:02}.000000Z"


def bury(place: Settings, publisher: Publisher, *found: DeadLetter) -> None:
    for letter in found:
        for piece in dead_letters.pieces(letter):
            topic = place.kafka.topic(DEAD_LETTERS)
            publisher.send(topic, key=letter.source.encode(), value=dead_letters.encode(piece))
    publisher.flush()


def answer(place: Settings, publisher: Publisher, letter: LetterRef, event: bytes, *, position: int = 0) -> None:
    """Send what a retry sends of one letter."""
    value, headers = slices.encode(RETRY.encode(), cowrie.SCHEMA, position, [position], [event])
    publisher.send(
        place.kafka.topic(EVENTS),
        key=cowrie.session_key("sensor", "s"),
        value=value,
        headers=[*headers, (retries.HEADER, encode_ref(letter))],
    )
    publisher.flush()


def chosen(engine: sa.Engine, **choice: object) -> list[Letter]:
    with snapshot(engine) as connection:
        return stored.find(connection, Choice(**choice))  # type: ignore[arg-type]


def contents(engine: sa.Engine, found: Sequence[Letter]) -> list[bytes]:
    with snapshot(engine) as connection:
        return [stored.content(connection, letter) for letter in found]


def ref(letter: DeadLetter) -> LetterRef:
    *_, last = dead_letters.pieces(letter)
    digest = dead_letters.payload_digest(last.payload)
    return LetterRef(letter.source, letter.position, letter.origin, letter.topic, letter.partition, last.piece, digest)


def test_half_a_line_and_the_whole_of_it_are_two_letters_that_count_once(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    half = DeadLetter(SOURCE, 100, "unfinished last line", HALF, at=at(1))
    whole = DeadLetter(SOURCE, 100, "not JSON", HALF + b" and more", at=at(2))
    with running(place, "dead_letters"):
        bury(place, publisher, half, half, whole, whole)
        wait_for_rows(engine, "SELECT count(*) FROM dead_letter_events", (2,))
        wait_until_observed(place, "dead_letters", (1, 0, 0))
    assert contents(engine, chosen(engine)) == [HALF + b" and more", HALF]


def test_a_long_letter_is_put_together_also_where_half_of_it_came_first(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    half, whole = LONG, LONG + b"y" * PIECE_BYTES
    with running(place, "dead_letters"):
        bury(
            place,
            publisher,
            DeadLetter(SOURCE, 5, "unfinished last line", half, at=at(1)),
            DeadLetter(SOURCE, 5, "line is too long", whole, at=at(2)),
        )
        wait_for_rows(engine, "SELECT count(*) FROM dead_letter_events", (4,))
    found = chosen(engine)
    assert [(letter.size, letter.pieces, letter.begins) for letter in found] == [
        (len(whole), 3, whole[:80]),
        (len(half), 2, half[:80]),
    ]
    assert contents(engine, found) == [whole, half]
    with engine.begin() as connection:
        assert stored.resolve(connection, found[1:], by="me", note="") == 1
    assert [letter.pieces for letter in chosen(engine)] == [3]


@pytest.fixture
def some(place: Settings, engine: sa.Engine, publisher: Publisher) -> list[DeadLetter]:
    """Letters of two sources, of a reader and of a sink, one after the other."""
    found = [
        DeadLetter(SOURCE, 0, "not JSON", b"a", at=at(1), detail="why", sensor="pot"),
        DeadLetter(SOURCE, 9, "not JSON", b"b", at=at(2)),
        DeadLetter("00bb", 0, "truncated", b"c", at=at(3)),
        DeadLetter(SOURCE, 4, "the database refuses it", b"d", origin="raw_events", at=at(4), topic="cowrie.events",
                   partition=1, offset=8, key='["pot","s"]'),
    ]  # fmt: skip
    with running(place, "dead_letters"):
        for letter in found:
            bury(place, publisher, letter)
            number = (found.index(letter) + 1,)
            wait_for_rows(engine, "SELECT count(*) FROM dead_letter_events", number)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sources (source_id, revision, kind, name, attempt, claimed_attempt, confirmed_attempt)"
                f" VALUES ('{SOURCE}', 1, 'cowrie.log', '/logs/cowrie.json', 1, 0, 0)"
            )
        )
    return found


CHOICES = [
    pytest.param({}, "dcba", id="all that are open, newest first"),
    pytest.param({"reason": "not JSON"}, "ba", id="by reason"),
    pytest.param({"source": "00bb"}, "c", id="by the id of a source"),
    pytest.param({"source": "/logs/cowrie.json"}, "dba", id="by the name of a source"),
    pytest.param({"origin": "raw_events"}, "d", id="by origin"),
    pytest.param({"since": at(2), "until": at(4)}, "cb", id="from a time on, and before another"),
    pytest.param({"source": SOURCE, "reason": "not JSON", "since": at(2)}, "b", id="by all of them"),
    pytest.param({"source": "nowhere"}, "", id="by a source that isn't there"),
    pytest.param({"standing": Standing.RESOLVED}, "", id="none is resolved yet"),
]


@pytest.mark.parametrize(("choice", "payloads"), CHOICES)
def test_letters_are_chosen(
    engine: sa.Engine, some: list[DeadLetter], choice: dict[str, object], payloads: str
) -> None:
    found = chosen(engine, **choice)
    assert b"".join(contents(engine, found)).decode() == payloads
    with snapshot(engine) as connection:
        counts = stored.count_by_reason(connection, Choice(**choice))  # type: ignore[arg-type]
        oldest = list(stored.each(connection, Choice(**choice), limit=2))  # type: ignore[arg-type]
    assert sum(counts.values()) == len(payloads)
    assert [letter.begins.decode() for letter in oldest] == list(reversed(payloads))[:2]


def test_a_letter_tells_all_that_is_known_of_it(engine: sa.Engine, some: list[DeadLetter]) -> None:
    of_sink, _, _, of_reader = chosen(engine)
    assert (of_reader.name, of_reader.detail, of_reader.sensor, of_reader.at) == (
        "/logs/cowrie.json", "why", "pot", at(1)
    )  # fmt: skip
    assert (of_sink.topic, of_sink.partition, of_sink.offset, of_sink.key) == ("cowrie.events", 1, 8, '["pot","s"]')
    assert [letter.ref for letter in reversed(chosen(engine))] == [ref(letter) for letter in some]


def test_letters_are_resolved_with_a_note_and_only_once(engine: sa.Engine, some: list[DeadLetter]) -> None:
    found = chosen(engine, reason="not JSON")
    with engine.begin() as connection:
        assert stored.resolve(connection, found, by="me", note="seen") == 2
        assert stored.resolve(connection, found, by="you", note="again") == 0
        assert stored.open_ids(connection, [letter.id for letter in found]) == set()
    resolved = chosen(engine, standing=Standing.RESOLVED)
    assert [(letter.resolved, letter.resolved_by, letter.note) for letter in resolved] == [(True, "me", "seen")] * 2
    assert all(letter.resolved_at for letter in resolved)
    assert len(chosen(engine)) == 2
    assert len(chosen(engine, standing=Standing.ANY)) == 4


def test_an_event_that_answers_a_letter_resolves_it_and_no_other(
    place: Settings, engine: sa.Engine, publisher: Publisher, some: list[DeadLetter]
) -> None:
    with running(place, "raw_events"):
        answer(place, publisher, ref(some[0]), line(1))
        wait_until_observed(place, "raw_events", (1, 0, 0), RETRY)
    assert query(engine, OPEN) == [(3,)]
    assert query(engine, "SELECT source_offset, resolved_by FROM dead_letter_events WHERE resolved") == [(0, RETRY)]
    assert query(engine, "SELECT retry_id, retry_offset, source_id FROM dead_letter_retries") == [(RETRY, 0, SOURCE)]
    with running(place, "raw_events"):
        answer(place, publisher, ref(some[1]), line(1), position=1)
        wait_until_observed(place, "raw_events", (1, 1, 0), RETRY)
    assert query(engine, OPEN) == [(2,)], "an event that is present already is in the database, too"


def test_a_letter_that_comes_after_its_answer_is_resolved_all_the_same(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    long = DeadLetter(SOURCE, 3, "line is too long", LONG, at=at(1))
    other = DeadLetter(SOURCE, 3, "not JSON", b"x", at=at(2))
    with running(place, "raw_events"):
        answer(place, publisher, ref(long), line(1))
        wait_until_observed(place, "raw_events", (1, 0, 0), RETRY)
    with running(place, "dead_letters"):
        bury(place, publisher, long, other)
        wait_for_rows(engine, "SELECT count(*) FROM dead_letter_events", (3,))
    assert query(engine, "SELECT piece, payload FROM dead_letter_events WHERE NOT resolved") == [(0, b"x")]


def test_letters_and_answers_that_come_at_once_miss_each_other_never(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    found = [DeadLetter(SOURCE, number, "not JSON", b"%d" % number, at=at(1)) for number in range(300)]
    with running(place, "raw_events", "dead_letters"):
        for number, letter in enumerate(found):
            bury(place, publisher, letter)
            answer(place, publisher, ref(letter), line(number), position=number)
        eventually(
            lambda: query(engine, "SELECT count(*) FROM dead_letter_events WHERE resolved"),
            until=lambda seen: seen == [(300,)],
            seconds=60,
        )


def test_an_event_that_the_database_does_not_keep_resolves_nothing(
    place: Settings, engine: sa.Engine, publisher: Publisher, some: list[DeadLetter]
) -> None:
    with engine.begin() as connection:
        for statement in DROP_ALL[engine.dialect.name]:
            connection.execute(sa.text(statement))
    with running(place, "raw_events"):
        answer(place, publisher, ref(some[0]), line(1))
        eventually(
            lambda: query(engine, f"SELECT sum(next_offset) FROM sink_counters WHERE source_id = '{RETRY}'")[0][0]
        )
    assert query(engine, OPEN) == [(4,)]


@pytest.mark.parametrize("reference", HOSTILE)
def test_an_event_whose_reference_is_of_no_letter_is_stored_and_resolves_nothing(
    place: Settings, engine: sa.Engine, publisher: Publisher, some: list[DeadLetter], reference: bytes
) -> None:
    value, headers = slices.encode(RETRY.encode(), cowrie.SCHEMA, 0, [0], [line(1)])
    topic = place.kafka.topic(EVENTS)
    key = cowrie.session_key("sensor", "s")
    publisher.send(topic, key=key, value=value, headers=[*headers, (retries.HEADER, reference)])
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (1, 0, 0), RETRY)
    assert query(engine, OPEN) == [(4,)]


def test_what_the_database_would_refuse_is_known_before_and_nothing_is_stored(
    place: Settings, engine: sa.Engine
) -> None:
    poison = b'{"eventid":"e","timestamp":"2026-01-01T00:00:00Z","x":1e999999}'
    records = []
    for event in (line(1), poison, b"junk", line(2)):
        value, headers = slices.encode(b"rehearsal", cowrie.SCHEMA, 0, [0], [event])
        records.append((cowrie.session_key("sensor", "s"), value, headers))
    refused = would_refuse(engine, records)
    assert refused[2] == "not JSON"
    if engine.dialect.name == "postgresql":
        assert refused[1] == "the database refuses it: value overflows numeric format"
        assert set(refused) == {1, 2}
    else:
        assert set(refused) == {2}
    assert query(engine, "SELECT count(*) FROM raw_events") == [(0,)]
