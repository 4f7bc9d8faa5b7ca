"""Stages that one process works on and another looks at: each test is a story of one medium, told in events."""

import msgspec
import pytest

from streams.stages.fold import apply
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.media import INODES, RECORD_COUNTS, Form
from tallystick.contracts.stages import (
    Claimed,
    Command,
    Failed,
    Observed,
    Outcome,
    Passed,
    Reported,
    SourceState,
    StageEvent,
    Started,
    Verdict,
)

MEDIUM = "da69350a" * 4
KIND = Form.IMAGE.kind
DATABASE = "db1"
COUNTS = {
    "records": 1161,
    "inodes": 1161,
    "files": 1056,
    "folders": 105,
    "links": 0,
    "others": 0,
    "excluded": 0,
    "problems": 0,
}


def at(second: int) -> str:
    return f"2026-11-25T00:00:{second:02d}.000000Z"


def identified(attempt: int = 1, *, until: str = "") -> list[StageEvent]:
    return [
        Started(MEDIUM, KIND, "cd.iso", "identified", attempt, at(1), until=until),
        Claimed(MEDIUM, KIND, "cd.iso", "identified", attempt, at(1), {"bytes": 2048}, {}),
        Observed(MEDIUM, "sources", DATABASE, at(2), attempt=attempt),
    ]


def enumerated(run: int = 1, *, attempt: int = 1, digest: str = "d", **counts: int) -> Claimed:
    ends = {INODES.name: {2: 9}}
    return Claimed(MEDIUM, KIND, "cd.iso", "enumerated", attempt, at(3), COUNTS | counts, ends, digest, run)


def loaded_up_to(offset: int) -> Observed:
    return Observed(MEDIUM, "media_inodes", DATABASE, at(4), {2: Passed(offset)})


def look(stage: str, run: int = 1, *, attempt: int = 1, digest: str = "d", **found: int) -> Reported:
    return Reported(MEDIUM, stage, attempt, DATABASE, at(5), {}, COUNTS | found, digest=digest, run=run)


def tell(*events: StageEvent) -> tuple[SourceState, list[Outcome], list[Command]]:
    state, outcomes, commands = SourceState(MEDIUM), [], []
    for event in events:
        said, ordered = apply(state, event, PIPELINES)
        outcomes += said
        commands += ordered
    return state, outcomes, commands


def verdict(state: SourceState, stage: str) -> Verdict | None:
    found = state.projections[DATABASE].stages.get(stage)
    return found.verdict if found else None


def ordered(commands: list[Command]) -> list[tuple[str, str]]:
    return [(command.stage, "look" if command.look else "work") for command in commands]


def test_success_of_the_stage_before_commands_the_work_once() -> None:
    _, _, commands = tell(*identified(), Observed(MEDIUM, "sources", DATABASE, at(3), attempt=1))
    assert ordered(commands) == [("enumerated", "work")]


def test_a_claim_commands_the_look_and_is_no_success_itself() -> None:
    state, _, commands = tell(*identified(), enumerated())
    assert ordered(commands) == [("enumerated", "work"), ("enumerated", "look")]
    assert commands[-1].run == 1
    assert verdict(state, "enumerated") is None


def test_a_stage_succeeds_where_the_look_finds_what_was_claimed() -> None:
    state, _, _ = tell(*identified(), enumerated(), look("enumerated"))
    assert verdict(state, "enumerated") is Verdict.SUCCEEDED


def test_a_stage_that_nobody_works_on_by_command_is_looked_at_once_its_observer_has_passed_the_claim() -> None:
    story = [*identified(), enumerated(), look("enumerated"), loaded_up_to(8)]
    assert ordered(tell(*story)[2])[-1] == ("enumerated", "look")
    assert ordered(tell(*story, loaded_up_to(9))[2])[-1] == ("loaded", "look")


@pytest.mark.parametrize("name", RECORD_COUNTS)
def test_a_count_that_is_not_found_is_a_mismatch_that_stops_the_pipeline(name: str) -> None:
    wrong = msgspec.structs.replace(look("enumerated"), found={**COUNTS, name: COUNTS[name] + 1})
    state, _, commands = tell(*identified(), enumerated(), wrong)
    assert verdict(state, "enumerated") is Verdict.MISMATCH
    assert name in state.projections[DATABASE].stages["enumerated"].reason
    assert "loaded" not in [command.stage for command in commands]


def test_a_look_that_found_nothing_at_all_is_a_mismatch() -> None:
    state, _, _ = tell(*identified(), enumerated(), Reported(MEDIUM, "enumerated", 1, DATABASE, at(5), {}, {}, run=1))
    assert verdict(state, "enumerated") is Verdict.MISMATCH


def test_another_digest_is_a_mismatch_though_all_counts_agree() -> None:
    state, _, _ = tell(*identified(), enumerated(), look("enumerated", digest="e"))
    assert verdict(state, "enumerated") is Verdict.MISMATCH


def test_losses_stay_in_the_reason_of_the_success() -> None:
    state, _, _ = tell(*identified(), enumerated(problems=10), look("enumerated", problems=10))
    found = state.projections[DATABASE].stages["enumerated"]
    assert (found.verdict, found.reason) == (Verdict.SUCCEEDED, "with losses: 10 problems")


def test_a_look_at_the_claim_of_an_earlier_run_decides_nothing() -> None:
    state, _, commands = tell(*identified(), enumerated(run=1), enumerated(run=2), look("enumerated", run=1, records=0))
    assert verdict(state, "enumerated") is None
    assert [command.run for command in commands if command.look] == [1, 2]


def test_6_49_the_late_claim_of_a_run_that_was_fenced_off_is_not_heard() -> None:
    state, _, _ = tell(*identified(), enumerated(run=2), enumerated(run=1, records=7), look("enumerated", run=2))
    assert verdict(state, "enumerated") is Verdict.SUCCEEDED


def test_a_worker_that_failed_stops_the_pipeline_with_its_reason() -> None:
    failed = Failed(MEDIUM, KIND, "cd.iso", "enumerated", 1, at(3), "exit code 0, but it claimed nothing", DATABASE, 0)
    state, outcomes, commands = tell(*identified(), failed)
    assert [(outcome.stage, outcome.verdict) for outcome in outcomes][-1] == ("enumerated", Verdict.FAILED)
    assert ordered(commands) == [("enumerated", "work")]
    assert verdict(state, "loaded") is None


def test_nothing_is_commanded_after_the_last_stage_that_was_asked_for() -> None:
    story = [*identified(until="enumerated"), enumerated(), look("enumerated"), loaded_up_to(9)]
    state, _, commands = tell(*story)
    assert verdict(state, "enumerated") is Verdict.SUCCEEDED
    assert ordered(commands)[-1] == ("enumerated", "look")
    assert "loaded" not in state.projections[DATABASE].stages


def test_a_new_attempt_commands_everything_again_and_hears_nothing_of_the_old_one() -> None:
    story = [*identified(), enumerated(), look("enumerated"), *identified(2), look("enumerated"), enumerated(run=9)]
    state, _, commands = tell(*story)
    assert verdict(state, "enumerated") is None
    assert [(command.stage, command.attempt) for command in commands if not command.look] == [
        ("enumerated", 1),
        ("enumerated", 2),
    ]


def test_48_the_same_story_told_twice_ends_in_the_same_verdicts() -> None:
    story = [*identified(), enumerated(), look("enumerated"), loaded_up_to(9), look("loaded")]
    once, twice = tell(*story)[0], tell(*story, *story)[0]
    assert {n: s.verdict for n, s in once.projections[DATABASE].stages.items()} == {
        n: s.verdict for n, s in twice.projections[DATABASE].stages.items()
    }
