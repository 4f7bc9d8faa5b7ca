"""States of sessions into rows: they only ever move forward, and their children with them."""

import msgspec
import sqlalchemy as sa

from tallystick.contracts import cowrie
from tallystick.contracts.cowrie import CommandSeen, FileSeen, LoginSeen, SessionState
from tallystick.contracts.stages import Observed
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.sinks import SOURCE, query, ready, running, stage_events, wait_for_rows
from tests.support import eventually

T1, T2, T3 = (f"2026-01-01T00:00:0{second}.000000Z" for second in (1, 2, 3))
CHILDREN = {
    "command_stats": "SELECT command_normalized, occurrences FROM command_stats ORDER BY ordinal",
    "login_attempts": "SELECT username, password, occurrences FROM login_attempts ORDER BY ordinal",
    "files": "SELECT how, shasum, occurrences FROM files ORDER BY shasum",
    "session_sources": "SELECT source_id FROM session_sources ORDER BY source_id",
}


def state(revision: int, **more: object) -> SessionState:
    first = SessionState(
        sensor="sensor",
        session="s1",
        revision=revision,
        event_count=revision,
        first_event_at=T1,
        last_event_at=T2,
        sources={SOURCE: 100},
        commands=[CommandSeen(1, T1, T1, 0, normalized="uname -a")],
        logins=[LoginSeen(1, T1, T1, 0, username="root", password="x", succeeded=True)],
        files=[FileSeen(1, T1, T1, 0, how="download", shasum="aa", url="http://a/b")],
    )
    return msgspec.structs.replace(first, **more)


LATER = state(
    7,
    last_event_at=T3,
    sources={SOURCE: 300, "00000000000000bb": 5},
    commands=[
        CommandSeen(1, T1, T1, 0, normalized="id"),
        CommandSeen(2, T1, T3, 0, normalized="uname -a", high_risk=True),
    ],
    logins=[],
    files=[
        FileSeen(4, T1, T3, 0, how="download", shasum="aa", url="http://a/b"),
        FileSeen(1, T3, T3, 0, how="upload", shasum="bb", filename="c"),
    ],
)


def send(publisher: Publisher, place: Settings, *states: SessionState) -> None:
    for found in states:
        publisher.send(
            place.kafka.topic(cowrie.SESSIONS),
            key=cowrie.session_key(found.sensor, found.session),
            value=cowrie.encode_state(found),
        )
    publisher.flush()


def passed(place: Settings, source: str = SOURCE) -> int:
    """Return the highest offset that the sink has passed of a source."""
    said = [
        event for event in stage_events(place) if isinstance(event, Observed) and event.observer == "session_summaries"
    ]
    return max((p.offset for event in said if event.source == source for p in event.partitions.values()), default=0)


def test_a_newer_state_replaces_an_older_one_and_its_children_but_not_what_others_wrote(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    counts = "SELECT revision, event_count, vt_flagged FROM session_summaries"
    with running(place, "session_summaries"):
        send(publisher, place, state(3))
        wait_for_rows(engine, counts, (3, 3, False))
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE session_summaries SET vt_flagged = true"))
            connection.execute(sa.text("UPDATE files SET vt_positives = 9"))
        send(publisher, place, LATER)
        wait_for_rows(engine, counts, (7, 7, True))
        eventually(lambda: passed(place), until=lambda offset: offset == 2)
    assert query(engine, CHILDREN["command_stats"]) == [("id", 1), ("uname -a", 2)]
    assert query(engine, CHILDREN["login_attempts"]) == []
    assert query(engine, CHILDREN["files"]) == [("download", "aa", 4), ("upload", "bb", 1)]
    assert query(engine, CHILDREN["session_sources"]) == [(SOURCE,), ("00000000000000bb",)]
    assert query(engine, "SELECT shasum FROM files WHERE vt_positives = 9") == [("aa",)]


def test_an_older_state_changes_nothing_whether_in_a_later_batch_or_in_the_same(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    send(publisher, place, state(3), LATER, state(5))
    with running(place, "session_summaries"):
        eventually(lambda: passed(place), until=lambda offset: offset == 3)
        before = {name: query(engine, text) for name, text in CHILDREN.items()}
        send(publisher, place, state(6))
        eventually(lambda: passed(place), until=lambda offset: offset == 4)
    assert query(engine, "SELECT revision FROM session_summaries") == [(7,)]
    assert {name: query(engine, text) for name, text in CHILDREN.items()} == before


def test_many_sessions_in_one_batch_some_new_some_moved(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    sessions = [state(2, session=f"s{number}") for number in range(50)]
    send(publisher, place, *sessions)
    with running(place, "session_summaries"):
        wait_for_rows(engine, "SELECT count(*), sum(revision) FROM session_summaries", (50, 100))
        newer = [state(4, session=f"s{number}") for number in range(25, 75)]
        send(publisher, place, *newer)
        wait_for_rows(engine, "SELECT count(*), sum(revision) FROM session_summaries", (75, 250))
    assert query(engine, "SELECT count(*), count(DISTINCT session_id) FROM command_stats") == [(75, 75)]


def test_a_state_that_the_database_refuses_is_a_dead_letter_and_holds_up_no_other(settings: Settings) -> None:
    engine, publisher = ready(settings), Publisher(settings, client_id="test")
    refused = state(2, session="bad", protocol=cowrie.First(T1, "a\x00b"))
    send(publisher, settings, *[state(2, session=f"s{number}") for number in range(9)], refused)
    with running(settings, "session_summaries", "dead_letters"):
        wait_for_rows(
            engine,
            "SELECT origin, topic, payload FROM dead_letter_events",
            ("session_summaries", "cowrie.sessions", cowrie.encode_state(refused)),
        )
        wait_for_rows(engine, "SELECT count(*) FROM session_summaries", (9,))
    engine.dispose()
