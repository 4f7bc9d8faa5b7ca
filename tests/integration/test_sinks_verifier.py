"""The verifier: what it counts agrees with what the sinks reported, or it says where it does not."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from sinks.projection import projection_id
from sinks.replaying import empty
from tallystick.contracts import cowrie, dead_letters, stages
from tallystick.contracts.cowrie import SessionState
from tallystick.contracts.dead_letters import REFUSED, DeadLetter
from tallystick.contracts.stages import Command, Reported
from tallystick.contracts.topics import DEAD_LETTERS, STAGE_COMMANDS
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings, VerifierSettings
from tests.sinks import (
    SOURCE,
    events,
    ready,
    running,
    send_slice,
    stage_events,
    verifying,
    wait_for_rows,
    wait_until_observed,
)
from tests.support import eventually

OTHER = "00000000000000bb"


def load(place: Settings, publisher: Publisher, *, counted: int = 10) -> None:
    """Store 10 events of each of 3 sessions, 2 of no session and a dead letter; `counted` is what s0 says of itself."""
    for number in range(3):
        send_slice(publisher, place, events(10, first=10 * number), session=f"s{number}")
        state = SessionState("sensor", f"s{number}", event_count=10, revision=10, sources={SOURCE: 1})
        if number == 0:
            state.event_count = counted
        publisher.send(
            place.kafka.topic(cowrie.SESSIONS),
            key=cowrie.session_key("sensor", state.session),
            value=cowrie.encode_state(state),
        )
    send_slice(publisher, place, events(2, first=90), session="")
    letter = dead_letters.encode(DeadLetter(SOURCE, 5, "not JSON", b"x"))
    publisher.send(place.kafka.topic(DEAD_LETTERS), key=SOURCE.encode(), value=letter)
    publisher.flush()
    with running(place, "raw_events", "session_summaries", "dead_letters"):
        wait_until_observed(place, "raw_events", (32, 0, 0))
        wait_until_observed(place, "dead_letters", (1, 0, 0))
        eventually(lambda: len(stage_events(place)), until=lambda said: said >= 3)


def command(place: Settings, publisher: Publisher, engine: sa.Engine, *, attempt: int = 1) -> None:
    """Command the verification of the source, in another database and then in this one."""
    for projection in ("another", projection_id(engine)):
        found = Command(SOURCE, cowrie.KIND, "/a", "verified", attempt, projection, "2026-01-01T00:00:00.000000Z")
        publisher.send(place.kafka.topic(STAGE_COMMANDS), key=SOURCE.encode(), value=stages.encode(found))
    publisher.flush()


def reports(place: Settings) -> list[Reported]:
    return [event for event in stage_events(place) if isinstance(event, Reported)]


@contextmanager
def report_of(place: Settings, count: int = 1) -> Iterator[list[Reported]]:
    """Run the verifier until it has sent `count` reports; the list holds them after the block."""
    found: list[Reported] = []
    with verifying(place):
        yield found
        eventually(lambda: len(reports(place)), until=lambda seen: seen == count, seconds=30)
    found += reports(place)


def impatient(place: Settings, seconds: float) -> Settings:
    return place.model_copy(update={"verifier": VerifierSettings(settle_seconds=seconds)})


def test_a_source_that_is_whole_is_found_as_it_was_reported(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher)
    with report_of(place) as found:
        command(place, publisher, engine, attempt=3)
    (report,) = found
    assert (report.source, report.stage, report.attempt) == (SOURCE, "verified", 3)
    assert report.projection == projection_id(engine)
    assert report.expected == {
        "session events": 30,
        "rows": 32,
        "dead letters": 1,
        "refused events": 0,
        "sessions that differ": 0,
    }
    assert report.found == report.expected


def test_a_session_that_counts_other_events_than_it_has_rows_is_named(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher, counted=11)
    with report_of(impatient(place, 0.1)) as found:
        command(place, publisher, engine)
    (report,) = found
    assert report.expected == {
        "session events": 31,
        "rows": 32,
        "dead letters": 1,
        "refused events": 0,
        "sessions that differ": 0,
    }
    assert report.found == {
        "session events": 30,
        "rows": 32,
        "dead letters": 1,
        "refused events": 0,
        "sessions that differ": 1,
    }
    assert report.detail == "session 's0' of 'sensor': 11 events counted, 10 rows"


def test_rows_that_went_missing_and_sessions_without_a_summary_are_found(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM raw_events WHERE session_id = 's1' AND source_offset < 1300"))
        connection.execute(sa.text("DELETE FROM session_summaries WHERE session_id = 's2'"))
        connection.execute(sa.text("DELETE FROM session_sources WHERE session_id = 's2'"))
        connection.execute(sa.text("DELETE FROM dead_letter_events"))
    with report_of(impatient(place, 0.1)) as found:
        command(place, publisher, engine)
    (report,) = found
    assert report.expected == {
        "session events": 20,
        "rows": 32,
        "dead letters": 1,
        "refused events": 0,
        "sessions that differ": 0,
    }
    assert report.found == {
        "session events": 27,
        "rows": 29,
        "dead letters": 0,
        "refused events": 0,
        "sessions that differ": 2,
    }


def test_a_session_whose_other_events_are_on_their_way_is_waited_for(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher, counted=15)
    with report_of(impatient(place, 20)) as found:
        command(place, publisher, engine)
        send_slice(publisher, place, events(5, first=500), source=OTHER, session="s0")
        publisher.flush()
        with running(place, "raw_events"):
            wait_until_observed(place, "raw_events", (5, 0, 0), OTHER)
    (report,) = found
    assert report.expected == {
        "session events": 35,
        "rows": 32,
        "dead letters": 1,
        "refused events": 0,
        "sessions that differ": 0,
    }
    assert report.found == report.expected


def test_a_command_that_was_answered_is_not_answered_again_by_the_next_verifier(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher)
    with report_of(place):
        command(place, publisher, engine)
    with report_of(place, count=2) as found:
        command(place, publisher, engine, attempt=2)
    assert [report.attempt for report in found] == [1, 2]


def test_the_recount_waits_while_a_table_that_it_counts_is_filled_again(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher)
    with engine.begin() as connection:
        empty(connection, ["raw_events", "inventories"])
    with report_of(impatient(place, 0.1)) as found:
        command(place, publisher, engine)
        with pytest.raises(AssertionError, match="not within"):
            eventually(lambda: reports(place), seconds=3)
        with running(place, "raw_events"):
            wait_for_rows(engine, "SELECT count(*) FROM raw_events", (32,))
    (report,) = found
    assert report.found == report.expected
    assert report.found["rows"] == 32


POISON = b'{"eventid":"e","timestamp":"2026-01-01T00:00:00Z","x":1e999999}'


def send_state(place: Settings, publisher: Publisher, *, counted: int) -> None:
    """Say that the session s0 of one source counts so many events."""
    state = SessionState("sensor", "s0", event_count=counted, revision=counted, sources={SOURCE: 1})
    topic, key = place.kafka.topic(cowrie.SESSIONS), cowrie.session_key("sensor", "s0")
    publisher.send(topic, key=key, value=cowrie.encode_state(state))


def test_an_event_that_the_database_refuses_is_a_dead_letter_and_no_difference(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    refused = engine.dialect.name == "postgresql"
    send_slice(publisher, place, [*events(3), (900, POISON)], session="s0")
    send_state(place, publisher, counted=4)
    publisher.flush()
    with running(place, "raw_events", "session_summaries", "dead_letters"):
        wait_until_observed(place, "raw_events", (3, 0, 1) if refused else (4, 0, 0))
        with report_of(place) as found:
            command(place, publisher, engine)
    (report,) = found
    assert report.found == report.expected
    assert (report.found["session events"], report.found["rows"]) == (4, 3 if refused else 4)
    assert report.found["refused events"] == (1 if refused else 0)
    assert report.detail == ("1 event is a dead letter: the database refuses it" if refused else "")


def test_a_letter_of_another_database_that_refuses_more_is_no_difference(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    load(place, publisher)
    more = {"origin": "raw_events", "topic": cowrie.EVENTS.name, "partition": 0, "key": '["sensor","s0"]'}
    letter = DeadLetter(SOURCE, 0, REFUSED, events(1)[0][1], **more)  # type: ignore[arg-type]
    publisher.send(place.kafka.topic(DEAD_LETTERS), key=SOURCE.encode(), value=dead_letters.encode(letter))
    publisher.flush()
    with running(place, "dead_letters"):
        wait_for_rows(engine, "SELECT count(*) FROM dead_letter_events", (2,))
    with report_of(impatient(place, 0.1)) as found:
        command(place, publisher, engine)
    (report,) = found
    assert report.found == report.expected
    assert report.detail == ""


def test_a_refused_event_that_two_sources_hold_is_one_of_its_session(
    settings: Settings, publisher_to_postgresql: Publisher
) -> None:
    publisher = publisher_to_postgresql
    engine = ready(settings)
    for source in (SOURCE, OTHER):
        send_slice(publisher, settings, [*events(3), (900, POISON)], session="s0", source=source)
    send_state(settings, publisher, counted=4)
    publisher.flush()
    with running(settings, "raw_events", "session_summaries", "dead_letters"):
        wait_until_observed(settings, "raw_events", (0, 3, 1), OTHER)
        with report_of(settings) as found:
            command(settings, publisher, engine)
    (report,) = found
    assert report.found == report.expected
    engine.dispose()


def test_a_refused_event_whose_letter_is_gone_is_a_difference(
    settings: Settings, publisher_to_postgresql: Publisher
) -> None:
    publisher = publisher_to_postgresql
    engine = ready(settings)
    send_slice(publisher, settings, [*events(3), (900, POISON)], session="s0")
    send_state(settings, publisher, counted=4)
    publisher.flush()
    with running(settings, "raw_events", "session_summaries"):
        wait_until_observed(settings, "raw_events", (3, 0, 1))
        with report_of(impatient(settings, 0.1)) as found:
            command(settings, publisher, engine)
    (report,) = found
    assert (report.expected["refused events"], report.found["refused events"]) == (1, 0)
    assert (report.expected["session events"], report.found["session events"]) == (4, 3)
    assert "session 's0' of 'sensor': 4 events counted, 3 rows" in report.detail
    engine.dispose()


@pytest.fixture
def publisher_to_postgresql(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings, client_id="test")
    yield made
    made.flush()
