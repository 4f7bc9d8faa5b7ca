"""Whatever the order of observations and however often they come, a source ends in the same verdicts."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.contracts.stages import StageEvent
from tests.unit.test_stages_fold import HEALTHY, SINKS, claimed, folded, report, started, tell

OBSERVATIONS: list[StageEvent] = [*SINKS, folded()]


@given(st.lists(st.sampled_from(OBSERVATIONS), max_size=12), st.permutations(OBSERVATIONS))
def test_observations_commute_and_repeat(noise: list[StageEvent], order: list[StageEvent]) -> None:
    _, expected, _ = tell(HEALTHY)
    _, outcomes, commands = tell([*noise, started(), claimed(), *order, *noise, report(rows=10)])
    assert {(o.stage, o.verdict) for o in outcomes} == {(o.stage, o.verdict) for o in expected}
    assert len(outcomes) == 5
    assert len(commands) == 1


@given(st.lists(st.sampled_from([started(), claimed(), *OBSERVATIONS[:2], folded()]), max_size=20))
def test_nothing_is_verified_without_all_the_evidence(events: list[StageEvent]) -> None:
    _, outcomes, _ = tell(events)
    assert "verified" not in {outcome.stage for outcome in outcomes}
    assert "aggregated" not in {outcome.stage for outcome in outcomes}
