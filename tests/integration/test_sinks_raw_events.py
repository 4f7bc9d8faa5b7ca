"""Events into rows on both databases: every event once, counted by what the database did."""

import sqlalchemy as sa

from tallystick.contracts.cowrie import EVENTS
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.sinks import (
    SOURCE,
    events,
    line,
    query,
    ready,
    running,
    send_slice,
    stage_events,
    wait_for_rows,
    wait_until_observed,
)
from tests.support import eventually

OTHER = "00000000000000bb"
ROWS = "SELECT count(*) FROM raw_events"


def test_events_become_rows_and_are_observed_as_inserted(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    for session in range(20):
        send_slice(publisher, place, events(10, first=10 * session), session=f"s{session}")
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (200, 0, 0))
    assert query(engine, ROWS) == [(200,)]
    found = query(
        engine,
        "SELECT sensor, session_id, source_id, event_type, raw FROM raw_events WHERE source_offset = 300",
    )
    assert found == [("sensor", "s0", SOURCE, "cowrie.command.input", None)]


def test_an_event_that_is_sent_again_in_other_slices_counts_once(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    found = events(30)
    send_slice(publisher, place, found[:20])
    send_slice(publisher, place, found[5:15])
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (20, 0, 0))
    send_slice(publisher, place, found[10:25])
    send_slice(publisher, place, found[25:], low=2_500)
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (30, 0, 0))
    assert query(engine, ROWS) == [(30,)]


def test_the_same_event_from_another_source_is_present_and_two_of_a_kind_are_one_row(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    send_slice(publisher, place, [*events(10), (5_000, line(3))])
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (10, 1, 0))
        send_slice(publisher, place, [(position + 7, text) for position, text in events(15)], source=OTHER)
        publisher.flush()
        wait_until_observed(place, "raw_events", (5, 10, 0), OTHER)
    assert query(engine, ROWS) == [(15,)]


def test_repeats_in_the_middle_of_a_large_batch_leave_no_row_out(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    for slice_ in range(40):
        send_slice(publisher, place, events(500, first=500 * slice_), session=f"s{slice_ % 7}")
        if slice_ % 15 == 5:
            send_slice(publisher, place, events(500, first=500 * slice_), session=f"s{slice_ % 7}", source=OTHER)
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (20_000, 0, 0))
        wait_until_observed(place, "raw_events", (0, 1_500, 0), OTHER)
    assert query(engine, ROWS) == [(20_000,)]


def test_rows_that_the_database_drops_in_silence_are_not_counted(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    with engine.begin() as connection:
        for statement in _DROP_ODD[engine.dialect.name]:
            connection.execute(sa.text(statement))
    send_slice(publisher, place, events(10))
    send_slice(publisher, place, events(10, first=10), session="s2")
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (10, 0, 0))
    assert query(engine, ROWS) == [(10,)]


_DROP_ODD = {
    "postgresql": (
        "CREATE FUNCTION drop_odd() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF NEW.source_offset % 200 = 100 THEN RETURN NULL; END IF; RETURN NEW; END'",
        "CREATE TRIGGER drop_odd BEFORE INSERT ON raw_events FOR EACH ROW EXECUTE FUNCTION drop_odd()",
    ),
    "sqlite": (
        "CREATE TRIGGER drop_odd BEFORE INSERT ON raw_events WHEN NEW.source_offset % 200 = 100"
        " BEGIN SELECT RAISE(IGNORE); END",
    ),
}


def test_what_cannot_be_shown_is_escaped_and_kept_exactly_beside(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    head = b'{"eventid":"e","timestamp":"2026-01-01T00:00:00Z","x":'
    bad = [head + b'"a\\u0000b"}', head + b'"\\ud800"}', head + b'"\xff"}', head + b"NaN}"]
    fine = [head + b'"tab\\there \\\\ \\u00e9 \\ud83d\\ude00"}', head + '"é"}'.encode(), head + b"\t1\r}"]
    send_slice(publisher, place, [(100 * number, text) for number, text in enumerate([*bad, *fine])])
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (7, 0, 0))
    x = "payload ->> 'x'" if engine.dialect.name == "postgresql" else "json_extract(payload, '$.x')"
    rows = query(engine, f"SELECT {x}, raw FROM raw_events ORDER BY source_offset")
    assert [shown for shown, _ in rows] == [
        "a\\u0000b",
        "\\ud800",
        "\\udcff",
        "NaN",
        "tab\there \\ é 😀",
        "é",
        "1" if engine.dialect.name == "postgresql" else 1,
    ]
    assert [raw if raw is None else bytes(raw) for _, raw in rows] == [*bad, None, None, None]


def test_a_poison_event_goes_to_the_dead_letters_and_the_rest_is_stored(
    settings: Settings,
) -> None:
    engine, publisher = ready(settings), Publisher(settings, client_id="test")
    poison = b'{"eventid":"e","timestamp":"2026-01-01T00:00:00Z","x":1e200000}'
    found = [*events(40), (9_000, poison)]
    send_slice(publisher, settings, found[:20])
    send_slice(publisher, settings, [*found[20:], (10_000, line(77)), (11_000, b"no event")], session="s2")
    publisher.flush()
    with running(settings, "raw_events", "dead_letters"):
        wait_until_observed(settings, "raw_events", (41, 0, 2))
        wait_for_rows(
            engine,
            "SELECT source_id, source_offset, origin, topic, payload, reason FROM dead_letter_events ORDER BY 2",
            (SOURCE, 9_000, "raw_events", "cowrie.events", poison, "the database refuses it"),
            (SOURCE, 11_000, "raw_events", "cowrie.events", b"no event", "not JSON"),
        )
    assert query(engine, ROWS) == [(41,)]
    engine.dispose()


def test_a_record_that_is_no_slice_goes_to_the_dead_letters_with_its_offset(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    send_slice(publisher, place, events(1))
    publisher.send(place.kafka.topic(EVENTS), key=b"no key", value=b"junk", partition=1)
    publisher.flush()
    with running(place, "raw_events", "dead_letters"):
        wait_for_rows(
            engine,
            'SELECT source_id, origin, topic, "partition", payload, reason FROM dead_letter_events',
            ("", "raw_events", "cowrie.events", 1, b"junk", "not a record of its topic"),
        )
        wait_until_observed(place, "raw_events", (1, 0, 0))


def test_observations_are_sent_again_after_a_restart(place: Settings, engine: sa.Engine, publisher: Publisher) -> None:
    send_slice(publisher, place, events(5))
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (5, 0, 0))
    said = len(stage_events(place))
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (5, 0, 0))
        eventually(lambda: len(stage_events(place)), until=lambda count: count > said)
    assert query(engine, ROWS) == [(5,)]
