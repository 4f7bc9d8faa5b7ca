"""Whatever a reader and a database say, in whatever order: status files never claim more than was observed."""

import json
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from producers.progress import Progress
from producers.progress import State as FileState
from sinks.standing import SourceStanding, StageStanding
from tallystick.cli.status.counting import Held
from tallystick.cli.status.documents import DeadLetters, Phase, Run, Snapshot, State, advance, documents, total
from tallystick.cli.status.gathering import Evidence, snapshot_of
from tallystick.contracts.cowrie import KIND
from tallystick.contracts.stages import Verdict

STAGES = ("read", "persisted", "aggregated", "derived", "verified")
RUN = Run("id", "host", 1, "2026-11-25T08:00:00.000000Z")
SOURCES = ("a", "b", "path-c")
SENSORS = ("one", "two")
small = st.integers(0, 60)


def stage(name: str, verdict: Verdict | None) -> StageStanding:
    return StageStanding(name, 1, verdict, "", 0, 0, "", "")


@st.composite
def files(draw: st.DrawFn) -> list[Progress]:
    """What a reader has told of some files since the last look."""
    found = []
    for number in draw(st.sets(st.integers(0, 4), max_size=4)):
        state: Literal["waiting", "reading"] | FileState = draw(
            st.sampled_from(["waiting", "reading", "claimed", "failed", "interrupted"])
        )
        source = "" if state == "waiting" else draw(st.sampled_from(SOURCES))
        events = draw(small)
        found.append(
            Progress(
                path=f"/{number}",
                source=source,
                attempt=draw(st.integers(1, 2)),
                position=draw(small),
                bytes_read=draw(small),
                size=draw(small),
                lines=events,
                events=events,
                dead=draw(small),
                state=state,
                sensor=SENSORS[number % 2],
                before=draw(st.integers(0, events)),
            )
        )
    return found


verdicts = st.sampled_from([None, *Verdict, *[Verdict.SUCCEEDED] * 5])


def standing(source: str, attempt: int, found: tuple[Verdict | None, ...]) -> SourceStanding:
    return SourceStanding(source, KIND, "/x", attempt, 0, 0, 0, 0, list(map(stage, STAGES, found)))


standings = st.dictionaries(
    st.sampled_from(SOURCES), st.tuples(st.integers(1, 2), st.tuples(*[verdicts] * len(STAGES)))
).map(lambda found: {source: standing(source, *rest) for source, rest in found.items()})
held = st.dictionaries(st.sampled_from(SOURCES), st.builds(Held, small, small, small, small, st.just(DeadLetters(1))))
sights = st.lists(st.tuples(files(), standings, held), min_size=1, max_size=6)


@given(sights, st.sampled_from(["running", "failed", "done"]))
def test_status_files_never_say_more_than_was_observed(
    seen: list[tuple[list[Progress], dict[str, SourceStanding], dict[str, Held]]], last: State
) -> None:
    snapshots = {sensor: Snapshot(sensor) for sensor in SENSORS}
    everything = Snapshot("")
    before: dict[str, dict[str, Any]] = {}
    by_path: dict[str, Progress] = {}
    for number, (news, known, counts) in enumerate(seen):
        by_path.update({said.path: said for said in news})
        progress = list(by_path.values())
        ended: State = last if number == len(seen) - 1 else "running"
        for sensor in SENSORS:
            own = [said for said in progress if said.sensor == sensor]
            now = snapshot_of(sensor, Evidence(own, known, counts), ended=ended, seconds=float(number))
            snapshots[sensor] = advance(snapshots[sensor], now)
        everything = advance(everything, total(snapshots.values(), state=ended, problems=(), seconds=float(number)))
        found = documents(RUN, everything, snapshots.values())
        assert json.loads(json.dumps(found)) == found
        for name, document in found.items():
            _is_within_bounds(document)
            _has_not_fallen(before.get(name), document)
            sensors = [document["sensor"]] if document["sensor"] else SENSORS
            if document["state"] == "done":
                _is_observed(document, [said for said in progress if said.sensor in sensors], known)
        assert found["status.json"]["state"] in ({"running"} if ended == "running" else {ended, "failed"})
        before = found


def _is_within_bounds(document: dict[str, Any]) -> None:
    progress, counts = document["progress"], document["files"]
    assert 0 <= progress["current"] <= progress["total"]
    assert 0.0 <= progress["percent"] <= 100.0
    if progress["percent"] == 100.0:
        assert progress["current"] == progress["total"]
        assert progress["total"] or document["state"] == "done"
    assert progress["rate_per_sec"] >= 0.0
    assert 0 <= counts["claimed"] <= counts["processed"] <= counts["total"]
    assert document["log_entries_indexed"] <= document["log_entries"]
    assert document["sessions_processed"] <= document["total_sessions"]


def _has_not_fallen(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    if before is None:
        return
    for name, value in before["metrics"].items():
        if value is not None and name not in {"events_per_second", "files_processed"}:
            assert now["metrics"][name] >= value, name


def _is_observed(document: dict[str, Any], progress: list[Progress], known: dict[str, SourceStanding]) -> None:
    """What a phase that is done needs has been seen: of the last one now, of the others now or before."""
    details, counts = document["details"], document["files"]
    match Phase(document["phase"]):
        case Phase.READING:
            assert counts["claimed"] == counts["total"] > 0
        case Phase.INDEXING:
            assert details["sources_persisted"] == details["sources"]
        case Phase.ANALYSIS:
            assert details["sources_aggregated"] == details["sources"]
        case Phase.WRITING:
            assert progress
            assert all(said.state == "claimed" for said in progress)
            assert all(known[said.source].attempt >= said.attempt for said in progress)
            assert all(known[said.source].succeeded for said in progress)
