"""From stage events to verdicts: each test is a story of one source, told in events."""

import pytest

from streams.stages.fold import apply
from tallystick.contracts import cowrie
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.stages import (
    Claimed,
    Command,
    Failed,
    Observed,
    Outcome,
    Passed,
    Reach,
    Reported,
    SourceState,
    StageEvent,
    StageState,
    Started,
    Verdict,
)

DATABASE = "db1"


def at(second: int) -> str:
    return f"2026-11-23T00:00:{second:02d}.000000Z"


def started(attempt: int = 1) -> Started:
    return Started("s", cowrie.KIND, "/log", "read", attempt, at(1))


def claimed(attempt: int = 1, *, events: int = 10, dead: int = 0, lines: int | None = None) -> Claimed:
    ends = {"cowrie.events": {0: 5, 1: 7}} if events else {}
    if dead:
        ends["dead.letters"] = {2: 3}
    counts = {"lines": events + dead if lines is None else lines, "events": events, "dead": dead, "blank": 0}
    return Claimed("s", cowrie.KIND, "/log", "read", attempt, at(2), counts, ends)


def raw_events(first: Passed, second: Passed, database: str = DATABASE) -> Observed:
    return Observed("s", "raw_events", database, at(3), {0: first, 1: second})


def letters(count: int) -> Observed:
    return Observed("s", "dead_letters", DATABASE, at(3), {2: Passed(3, inserted=count)})


def recorded(attempt: int = 1) -> Observed:
    return Observed("s", "sources", DATABASE, at(3), attempt=attempt)


def folded(first: int = 5, second: int = 7) -> Observed:
    return Observed("s", "sessions", "", at(3), {0: Passed(first), 1: Passed(second)}, produced={0: 2, 1: 4})


def summaries(first: int = 2, second: int = 4) -> Observed:
    return Observed("s", "session_summaries", DATABASE, at(4), {0: Passed(first), 1: Passed(second)})


def inventories(first: int = 2, second: int = 4) -> Observed:
    return Observed("s", "inventories", DATABASE, at(4), {0: Passed(first), 1: Passed(second)})


def report(attempt: int = 1, **found: int) -> Reported:
    return Reported("s", "verified", attempt, DATABASE, at(5), {"rows": 10}, found)


ALL_THERE = raw_events(Passed(5, inserted=4), Passed(7, inserted=6))
SINKS = [ALL_THERE, recorded(), summaries(), inventories()]
HEALTHY: list[StageEvent] = [started(), claimed(), folded(), *SINKS, report(rows=10)]


def tell(events: list[StageEvent]) -> tuple[SourceState, list[Outcome], list[Command]]:
    state, outcomes, commands = SourceState("s"), [], []
    for event in events:
        said, ordered = apply(state, event, PIPELINES)
        outcomes += said
        commands += ordered
    return state, outcomes, commands


def verdicts(events: list[StageEvent]) -> dict[str, str]:
    return {outcome.stage: str(outcome.verdict) for outcome in tell(events)[1]}


def test_a_source_whose_halves_tally_succeeds_in_all_five_stages_in_order() -> None:
    _, outcomes, commands = tell(HEALTHY)
    assert [(o.stage, o.verdict) for o in outcomes] == [
        (stage, Verdict.SUCCEEDED) for stage in ("read", "persisted", "aggregated", "derived", "verified")
    ]
    assert [(c.stage, c.attempt, c.projection) for c in commands] == [("verified", 1, DATABASE)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([started()], {}, id="a start alone is no verdict"),
        pytest.param([started(), claimed()], {"read": "succeeded"}, id="a claim only says what was read"),
        pytest.param(
            [started(), claimed(lines=11)],
            {"read": "mismatch"},
            id="a claim that does not add up is a mismatch at once",
        ),
        pytest.param(
            [started(), claimed(), raw_events(Passed(5, inserted=4), Passed(6, inserted=5)), recorded()],
            {"read": "succeeded"},
            id="an observer that has not passed the end of one partition is awaited",
        ),
        pytest.param(
            [started(), claimed(), raw_events(Passed(5, inserted=4), Passed(7, inserted=5)), recorded()],
            {"read": "succeeded", "persisted": "mismatch"},
            id="an observer that has passed all ends with one event less is a mismatch",
        ),
        pytest.param(
            [started(), claimed(), raw_events(Passed(5, inserted=4), Passed(7, inserted=7)), recorded()],
            {"read": "succeeded", "persisted": "mismatch"},
            id="one event more is a mismatch as well",
        ),
        pytest.param(
            [started(), claimed(), raw_events(Passed(5, present=4), Passed(7, inserted=5, dead=1)), recorded()],
            {"read": "succeeded", "persisted": "succeeded"},
            id="events that were there already and dead letters of the sink count as observed",
        ),
        pytest.param(
            [started(), claimed(), ALL_THERE],
            {"read": "succeeded"},
            id="a database that has not recorded the claim is awaited",
        ),
        pytest.param(
            [started(), claimed(dead=2), ALL_THERE, recorded()],
            {"read": "succeeded"},
            id="claimed dead letters are awaited",
        ),
        pytest.param(
            [started(), claimed(dead=2), ALL_THERE, recorded(), letters(1)],
            {"read": "succeeded", "persisted": "mismatch"},
            id="a lost dead letter is a mismatch",
        ),
        pytest.param(
            [started(), claimed(dead=2), ALL_THERE, recorded(), letters(2)],
            {"read": "succeeded", "persisted": "succeeded"},
            id="dead letters that arrived tally",
        ),
        pytest.param(
            [started(), claimed(events=0), recorded()],
            dict.fromkeys(("read", "persisted", "aggregated", "derived"), "succeeded"),
            id="an empty source succeeds once the database has recorded its claim of nothing",
        ),
        pytest.param(
            [started(), claimed(), folded(), summaries(first=1)],
            {"read": "succeeded"},
            id="a sink behind what the agent wrote is awaited",
        ),
        pytest.param(
            [started(), claimed(), folded(second=6), summaries()],
            {"read": "succeeded"},
            id="an agent that has not passed the claim's offsets is awaited",
        ),
        pytest.param(
            [started(), claimed(), folded(), ALL_THERE, recorded(), summaries(), inventories(second=3)],
            dict.fromkeys(("read", "persisted", "aggregated"), "succeeded"),
            id="inventories that are behind what the agent wrote are awaited, and the recount with them",
        ),
        pytest.param(
            [*HEALTHY[:-1], report(rows=9)],
            dict.fromkeys(("read", "persisted", "aggregated", "derived"), "succeeded") | {"verified": "mismatch"},
            id="a recount that finds something else is a mismatch",
        ),
        pytest.param(
            [started(), Failed("s", cowrie.KIND, "/log", "read", 1, at(2), "gzip ends early")],
            {"read": "failed"},
            id="a worker that says it failed has failed",
        ),
        pytest.param(
            [
                started(),
                Failed("s", cowrie.KIND, "/log", "read", 1, at(2), "gzip ends early"),
                claimed(),
                ALL_THERE,
                recorded(),
            ],
            {"read": "failed", "persisted": "succeeded"},
            id="what a damaged source did give is judged, and its own failure stands",
        ),
    ],
)
def test_a_verdict_follows_from_evidence_and_from_nothing_else(
    events: list[StageEvent], expected: dict[str, str]
) -> None:
    assert verdicts(events) == expected


def test_the_recount_is_commanded_by_the_verdict_before_it_and_only_once() -> None:
    _, _, commands = tell([*HEALTHY[:-1], summaries(), ALL_THERE, recorded()])
    assert len(commands) == 1
    _, _, none = tell([started(), claimed(), ALL_THERE, recorded()])
    assert none == []
    _, _, none = tell([started(), claimed(), folded(), summaries()])
    assert none == [], "the sessions were faster than the rows, which have no verdict yet"


def test_repeats_bring_no_second_verdict() -> None:
    _, outcomes, _ = tell([event for event in HEALTHY for _ in range(3)])
    assert len(outcomes) == 5


def test_each_database_gets_its_own_verdict() -> None:
    other = [
        raw_events(Passed(5, inserted=4), Passed(7, inserted=5), database="db2"),
        Observed("s", "sources", "db2", at(4), attempt=1),
    ]
    _, outcomes, _ = tell([*HEALTHY, *other])
    persisted = {o.projection: o.verdict for o in outcomes if o.stage == "persisted"}
    assert persisted == {DATABASE: Verdict.SUCCEEDED, "db2": Verdict.MISMATCH}


def test_an_observation_may_come_before_the_source_is_known() -> None:
    assert verdicts([ALL_THERE, folded(), started(), claimed(), recorded()])["persisted"] == "succeeded"


def test_a_newer_attempt_is_judged_anew_and_an_older_ones_words_change_nothing() -> None:
    late = Failed("s", cowrie.KIND, "/log", "read", 1, at(9), "killed")
    state, outcomes, _ = tell([*HEALTHY, started(2), late, claimed(1), report(rows=9)])
    assert state.attempt == 2
    assert len(outcomes) == 5
    assert state.projections[""].stages["read"].verdict is None
    _, outcomes, commands = tell([*HEALTHY, started(2), claimed(2), recorded(2), report(2, rows=10)])
    assert [(o.attempt, o.verdict) for o in outcomes[5:]] == [(2, Verdict.SUCCEEDED)] * 5
    assert [c.attempt for c in commands] == [1, 2]


def test_a_presumed_death_is_outranked_by_the_workers_own_claim() -> None:
    presumed = Failed("s", cowrie.KIND, "/log", "read", 1, at(2), "silent", presumed=True)
    _, outcomes, _ = tell([started(), presumed, claimed()])
    assert [(o.stage, o.verdict) for o in outcomes] == [("read", Verdict.FAILED), ("read", Verdict.SUCCEEDED)]


def test_a_worker_that_exits_having_done_nothing_cannot_succeed() -> None:
    assert "persisted" not in verdicts([started(), claimed(), recorded(), folded(), summaries()])


BEHIND = Reach(90, 100, at(1))


def beat(second: int, *, attempt: int = 1, reach: Reach | None = BEHIND) -> Started:
    return Started("s", cowrie.KIND, "/log", "read", attempt, at(second), reach=reach)


def silence(second: int) -> Failed:
    return Failed("s", cowrie.KIND, "/log", "read", 1, at(second), "silent", presumed=True)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([beat(1), beat(2, reach=Reach(95, 110))], Reach(95, 110), id="the newest heartbeat counts"),
        pytest.param([beat(5), beat(4, reach=Reach(95, 110))], BEHIND, id="an older one is late"),
        pytest.param([beat(1), beat(2, reach=None)], None, id="a bounded reader's heartbeat tells of none"),
        pytest.param([beat(1), claimed()], None, id="what is claimed is no longer live"),
        pytest.param([beat(1), claimed(), beat(3)], None, id="a heartbeat after the claim makes nothing live again"),
        pytest.param([beat(1), silence(3)], None, id="whose worker is silent is not live"),
        pytest.param([beat(1), silence(3), beat(4)], BEHIND, id="until its worker is heard again"),
        pytest.param([*HEALTHY, beat(6, attempt=2)], BEHIND, id="what has grown is live again"),
    ],
)
def test_a_source_is_live_while_its_follower_beats(events: list[StageEvent], expected: Reach | None) -> None:
    state, _, _ = tell(events)
    assert state.reach == expected


def test_a_heartbeat_takes_a_presumed_death_back_and_an_older_one_does_not() -> None:
    state, outcomes, _ = tell([beat(1), silence(3), beat(4)])
    assert state.projections[""].stages["read"].verdict is None
    assert [(o.stage, o.verdict) for o in outcomes] == [("read", Verdict.FAILED)]
    state, _, _ = tell([beat(1), silence(3), beat(2)])
    assert state.projections[""].stages["read"].verdict is Verdict.FAILED


def test_a_failure_that_the_worker_told_itself_is_not_taken_back() -> None:
    said = Failed("s", cowrie.KIND, "/log", "read", 1, at(3), "no permission")
    state, _, _ = tell([beat(1), said, beat(4)])
    assert state.projections[""].stages["read"].verdict is Verdict.FAILED
    assert state.reach is None


def heard(second: int, position: int, end: int) -> Started:
    reach = Reach(position=position, end=end)
    return Started("s", cowrie.KAFKA_KIND, "cowrie/0", "followed", 1, at(second), reach=reach)


def followed(*events: StageEvent) -> StageState:
    return tell(list(events))[0].projections[""].stages["followed"]


def test_an_endless_source_has_a_cursor_and_a_lag_and_no_verdict() -> None:
    stage = followed(heard(1, 5, 9), heard(2, 8, 12))
    assert (stage.verdict, stage.observed, stage.claimed, stage.reason) == (None, 8, 12, "at 8 of 12, 4 behind")


def test_a_heartbeat_that_was_overtaken_moves_no_cursor_back() -> None:
    assert followed(heard(2, 8, 12), heard(1, 5, 9)).observed == 8


def test_an_endless_source_that_was_read_to_an_end_is_judged_by_its_claim() -> None:
    counts = {"lines": 3, "events": 2, "dead": 0, "blank": 1}
    claim = Claimed("s", cowrie.KAFKA_KIND, "cowrie/0", "followed", 1, at(3), counts, {"cowrie.events": {0: 5}})
    stage = followed(heard(1, 0, 3), claim)
    assert (stage.verdict, stage.claimed, stage.observed) == (Verdict.SUCCEEDED, 3, 3)


def test_a_presumed_failure_is_taken_back_by_a_later_heartbeat_and_not_by_an_earlier_one() -> None:
    silent = Failed("s", cowrie.KAFKA_KIND, "cowrie/0", "followed", 1, at(5), "silent", presumed=True)
    assert followed(heard(1, 5, 9), silent, heard(4, 6, 9)).verdict is Verdict.FAILED
    assert followed(heard(1, 5, 9), silent, heard(6, 7, 9)).verdict is None
