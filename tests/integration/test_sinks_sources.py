"""States of sources into rows, and the word that a claim is in the database."""

import sqlalchemy as sa

from sinks.projection import projection_id
from sinks.schema import source_stages, sources
from sinks.standing import LiveStanding, read_repositories, read_standings
from tallystick.contracts import stages
from tallystick.contracts.atproto import REPOSITORY_KIND
from tallystick.contracts.cowrie import KIND
from tallystick.contracts.stages import Claimed, Observed, Projection, Reach, SourceState, StageState, Verdict
from tallystick.contracts.topics import SOURCE_STAGES
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.sinks import SOURCE, query, running, stage_events, wait_for_rows
from tests.support import eventually

AT = "2026-01-01T00:00:00.000000Z"
COUNTS = {"lines": 12, "events": 10, "dead": 1, "blank": 1, "bytes": 999}


def claim(attempt: int = 1) -> Claimed:
    return Claimed(SOURCE, KIND, "/a.json", "read", attempt, AT, COUNTS, {}, "d1")


def send(publisher: Publisher, place: Settings, state: SourceState) -> None:
    publisher.send(place.kafka.topic(SOURCE_STAGES), key=state.source.encode(), value=stages.encode(state))
    publisher.flush()


def recorded(place: Settings) -> list[tuple[str, int]]:
    """Return projection and attempt of each claim that was said to be recorded."""
    return [
        (event.projection, event.attempt)
        for event in stage_events(place)
        if isinstance(event, Observed) and event.observer == "sources"
    ]


def test_the_stages_of_this_database_are_stored_and_those_of_others_are_not(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    projection = projection_id(engine)
    state = SourceState(
        SOURCE,
        KIND,
        "/a.json",
        attempt=2,
        revision=5,
        claims={"read": claim(2)},
        projections={
            "": Projection(stages={"read": StageState(2, Verdict.SUCCEEDED, claimed=12, observed=12, ended_at=AT)}),
            projection: Projection(stages={"persisted": StageState(2, None, "waiting for raw_events\x00")}),
            "another": Projection(stages={"verified": StageState(2, Verdict.MISMATCH)}),
        },
    )
    with running(place, "sources"):
        send(publisher, place, state)
        wait_for_rows(
            engine,
            "SELECT kind, name, attempt, lines, events, dead_letters, blank, bytes, digest FROM sources",
            (KIND, "/a.json", 2, 12, 10, 1, 1, 999, "d1"),
        )
        standing = "SELECT stage, ordinal, verdict, reason, claimed, observed FROM source_stages ORDER BY ordinal"
        wait_for_rows(
            engine,
            standing,
            ("read", 0, "succeeded", "", 12, 12),
            ("persisted", 1, None, "waiting for raw_events\\u0000", 0, 0),
        )
        send(publisher, place, SourceState(SOURCE, KIND, "/a.json", attempt=3, revision=6))
        send(publisher, place, state)
        wait_for_rows(engine, "SELECT attempt, claimed_attempt FROM sources", (3, 0))
        wait_for_rows(engine, standing)


def test_how_far_behind_a_live_source_is_is_stored_and_forgotten_with_its_claim(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    late = "2026-01-01T00:00:02.500000Z"
    with running(place, "sources"):
        reach = Reach(position=70, end=100, since=AT)
        send(publisher, place, SourceState(SOURCE, KIND, "/a.json", attempt=1, revision=1, heard_at=late, reach=reach))
        wait_for_rows(engine, "SELECT live_position, live_end FROM sources", (70, 100))
        with engine.connect() as connection:
            [standing] = read_standings(connection)
        assert standing.live == LiveStanding(position=70, behind=30, seconds_behind=2.5, heard_at=late)
        claimed = {"read": claim()}
        send(publisher, place, SourceState(SOURCE, KIND, "/a.json", attempt=1, revision=2, claims=claimed))
        wait_for_rows(engine, "SELECT live_position, live_end, live_since, lines FROM sources", (None, None, None, 12))
        with engine.connect() as connection:
            assert [standing.live for standing in read_standings(connection)] == [None]


def test_a_stored_claim_is_said_to_be_until_the_stages_agent_knows(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    projection = projection_id(engine)
    state = SourceState(SOURCE, KIND, "/a.json", attempt=1, revision=1, claims={"read": claim()})
    send(publisher, place, state)
    with running(place, "sources"):
        eventually(lambda: recorded(place), until=lambda said: said == [(projection, 1)])
    with running(place, "sources"):
        eventually(lambda: recorded(place), until=lambda said: said == [(projection, 1)] * 2)
        known = Observed(SOURCE, "sources", projection, AT, attempt=1)
        state.projections = {projection: Projection(observations={"sources": known})}
        state.revision = 2
        send(publisher, place, state)
        wait_for_rows(engine, "SELECT confirmed_attempt FROM sources", (1,))
    with running(place, "sources"):
        send(publisher, place, SourceState("00000000000000bb", KIND, "/b.json", revision=1))
        wait_for_rows(engine, "SELECT count(*) FROM sources", (2,))
    assert recorded(place) == [(projection, 1)] * 2
    assert query(engine, "SELECT count(*) FROM source_stages") == [(0,)]


def test_of_many_repositories_those_are_named_that_have_not_succeeded(engine: sa.Engine) -> None:
    verdicts = {"a": "succeeded", "b": None, "c": "mismatch", "d": "succeeded"}
    row = {"kind": REPOSITORY_KIND, "revision": 1, "attempt": 2, "claimed_attempt": 2, "confirmed_attempt": 2}
    row |= {"first_seen": AT}
    stage = {"stage": "verified", "ordinal": 2, "claimed": 1, "observed": 1, "reason": "", "evidence": {}}
    with engine.begin() as connection:
        connection.execute(
            sources.insert(),
            [{**row, "source_id": f"did:plc:{name}", "name": f"did:plc:{name}"} for name in verdicts]
            + [{**row, "source_id": SOURCE, "name": "/a.json", "kind": KIND}],
        )
        connection.execute(
            source_stages.insert(),
            [
                {**stage, "source_id": f"did:plc:{name}", "attempt": 1 if name == "d" else 2, "verdict": verdict}
                for name, verdict in verdicts.items()
            ],
        )
        few = read_repositories(connection, most=2)
        every = read_repositories(connection, most=4)
        others = read_standings(connection, but=REPOSITORY_KIND)
    assert (few.sources, few.succeeded, few.failed) == (4, 1, 1)
    assert {standing.name for standing in few.named} == {"did:plc:c", "did:plc:b"}
    assert [standing.name for standing in every.named] == [f"did:plc:{name}" for name in verdicts]
    assert [standing.name for standing in others] == ["/a.json"]
