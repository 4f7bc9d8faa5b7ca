"""What a stage's row shows as evidence: the two halves that its rule compares."""

import pytest

from sinks.sources import claimed_attempt, confirmed_attempt, evidence
from tallystick.contracts.cowrie import KIND, PIPELINE
from tallystick.contracts.stages import Claimed, Observed, Passed, Projection, Reported, SourceState

AT = "2026-01-01T00:00:00.000000Z"
CLAIM = Claimed("s", KIND, "/a", "read", 2, AT, {"events": 5}, {})
ROWS = Observed("s", "raw_events", "p", AT, {0: Passed(9, inserted=4, present=1)})
SUMMARIES = Observed("s", "session_summaries", "p", AT, {0: Passed(3)})
INVENTORIES = Observed("s", "inventories", "p", AT, {0: Passed(2)})
RECORDED = Observed("s", "sources", "p", AT, attempt=2)
AGENT = Observed("s", "sessions", "", AT, {0: Passed(9)}, produced={0: 3})
REPORT = Reported("s", "verified", 2, "p", AT, {"rows": 5}, {"rows": 5})
OURS = Projection(
    observations={
        "raw_events": ROWS,
        "session_summaries": SUMMARIES,
        "inventories": INVENTORIES,
        "sources": RECORDED,
    },
    reports={"verified": REPORT},
)
STATE = SourceState(
    "s",
    KIND,
    attempt=2,
    claims={"read": CLAIM},
    projections={"": Projection(observations={"sessions": AGENT}), "p": OURS},
)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        pytest.param(0, {"claim": CLAIM}, id="read: the claim itself"),
        pytest.param(1, {"claim": "read", "observed": {"raw_events": ROWS.partitions}}, id="persisted: the counts"),
        pytest.param(
            2,
            {
                "claim": "read",
                "observed": {"sessions": AGENT.partitions, "session_summaries": SUMMARIES.partitions},
                "produced": {0: 3},
            },
            id="aggregated: agent and sink",
        ),
        pytest.param(
            3,
            {
                "claim": "read",
                "observed": {"sessions": AGENT.partitions, "inventories": INVENTORIES.partitions},
                "produced": {0: 3},
            },
            id="derived: agent and sink",
        ),
        pytest.param(4, {"report": REPORT}, id="verified: the report"),
    ],
)
def test_evidence_shows_both_halves(stage: int, expected: dict[str, object]) -> None:
    assert evidence(PIPELINE.stages[stage], STATE, OURS) == expected


def test_a_claim_is_confirmed_where_the_agent_knows_that_this_database_holds_it() -> None:
    assert claimed_attempt(STATE) == 2
    assert confirmed_attempt(STATE, "p") == 2
    assert confirmed_attempt(STATE, "another") == 0
    assert claimed_attempt(SourceState("s")) == 0
