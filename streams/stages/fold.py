"""From stage events to verdicts: pure, so that every case can be shown as a table.

`apply` takes one event into a source's state and returns what follows from it. All counts are cumulative and every
merge takes the later of two, so repeats and any order of observations end in the same state.
"""

from collections.abc import Iterator, Mapping

import msgspec

from tallystick.contracts.pipelines import Balance, Chain, Inspected, Pipeline, Recount, Stage, Tally
from tallystick.contracts.sources import Ends
from tallystick.contracts.stages import (
    Claimed,
    Command,
    Failed,
    Observed,
    Outcome,
    Passed,
    Projection,
    Reported,
    SourceState,
    StageEvent,
    StageState,
    Started,
    Verdict,
)

Judgement = tuple[Verdict | None, str]
"""A verdict with its reason; None while the evidence is still to come (the reason then says what is awaited)."""

EVERYWHERE = ""
"""The name of the projection that holds what is true for every database: the producer's and the agents' words."""


def apply(
    state: SourceState, event: StageEvent, pipelines: Mapping[str, Pipeline]
) -> tuple[list[Outcome], list[Command]]:
    """Take `event` into `state` (changed in place) and return the verdicts and commands that follow from it."""
    before = state.attempt
    match event:
        case Started():
            _start(state, event)
        case Claimed():
            _claim(state, event)
        case Observed():
            _observe(_projection(state, event.projection), event)
        case Reported():
            if event.attempt == state.attempt:
                _projection(state, event.projection).reports[event.stage] = event
        case Failed():
            _fail(state, event)
    state.revision += 1
    pipeline = pipelines.get(state.kind)
    if pipeline is None:
        return [], []
    outcomes, commands = _judge(state, pipeline, event.at)
    if isinstance(event, Failed) and event.attempt == state.attempt >= before:
        outcomes += _failure(state, event)
    return outcomes, commands


def _start(state: SourceState, event: Started) -> None:
    if event.attempt > state.attempt:
        _begin_attempt(state, event)
    if event.attempt == state.attempt:
        stages = _projection(state, event.projection).stages
        stage = stages.setdefault(event.stage, StageState(event.attempt, started_at=event.at))
        if event.at > stage.ended_at:
            _take_back_presumption(stage)
        if event.at >= state.heard_at:
            state.heard_at, state.name = event.at, event.name
            # A last heartbeat may follow the claim.
            state.reach = event.reach if stage.verdict is None else None


def _claim(state: SourceState, event: Claimed) -> None:
    if event.attempt > state.attempt:
        _begin_attempt(state, event)
    known = _claim_of(state, event.stage)
    if event.attempt < state.attempt or (known is not None and event.run < known.run):
        return
    state.claims[event.stage], state.name = event, event.name
    state.heard_at = max(state.heard_at, event.at)
    state.reach = None
    stage = _projection(state, EVERYWHERE).stages.get(event.stage)
    if stage is not None:
        _take_back_presumption(stage)


def _take_back_presumption(stage: StageState) -> None:
    """Forget that the worker of `stage` was presumed dead: it has spoken."""
    if stage.presumed:
        stage.verdict, stage.reason, stage.ended_at, stage.presumed = None, "", "", False


def _observe(projection: Projection, event: Observed) -> None:
    known = projection.observations.get(event.observer)
    if known is None:
        projection.observations[event.observer] = event
        return
    partitions = dict(known.partitions)
    for number, passed in event.partitions.items():
        partitions[number] = _later(partitions.get(number), passed)
    produced = dict(known.produced)
    for number, offset in event.produced.items():
        produced[number] = max(produced.get(number, 0), offset)
    projection.observations[event.observer] = Observed(
        source=event.source,
        observer=event.observer,
        projection=event.projection,
        at=max(known.at, event.at),
        partitions=partitions,
        produced=produced,
        attempt=max(known.attempt, event.attempt),
    )


def _later(known: Passed | None, passed: Passed) -> Passed:
    if known is None or (passed.offset, passed.total) > (known.offset, known.total):
        return passed
    return known


def _fail(state: SourceState, event: Failed) -> None:
    if event.attempt > state.attempt:
        _begin_attempt(state, event)
    if event.attempt < state.attempt:
        return
    stages = _projection(state, event.projection).stages
    stage = stages.setdefault(event.stage, StageState(event.attempt, started_at=event.at))
    if stage.verdict is None:
        stage.verdict, stage.reason, stage.ended_at = Verdict.FAILED, event.reason, event.at
        stage.presumed = event.presumed
        state.reach = None


def _failure(state: SourceState, event: Failed) -> list[Outcome]:
    stage = _projection(state, event.projection).stages[event.stage]
    said = stage.verdict is Verdict.FAILED and stage.ended_at == event.at and stage.reason == event.reason
    return [_outcome(state, event.projection, event.stage, stage)] if said else []


def _begin_attempt(state: SourceState, event: Started | Claimed | Failed) -> None:
    state.attempt, state.kind, state.name = event.attempt, event.kind, event.name
    state.source, state.reach = event.source, None
    state.until = event.until if isinstance(event, Started) else ""
    for projection in state.projections.values():
        projection.stages.clear()
        projection.reports.clear()


def _projection(state: SourceState, name: str) -> Projection:
    return state.projections.setdefault(name, Projection())


def _judge(state: SourceState, pipeline: Pipeline, at: str) -> tuple[list[Outcome], list[Command]]:
    outcomes: list[Outcome] = []
    commands: list[Command] = []
    for name, projection, before, stage in _open_stages(state, pipeline):
        standing = projection.stages.get(stage.name)
        if standing is None:
            standing = projection.stages[stage.name] = StageState(state.attempt)
        if isinstance(stage.rule, Recount | Inspected):
            if not before or None in before or before[-1] is not Verdict.SUCCEEDED:
                continue
            commands += _commands(state, name, projection, stage, standing, at)
        verdict, standing.reason = _evaluate(state, projection, stage, standing)
        if verdict is not None:
            standing.verdict, standing.ended_at = verdict, at
            _remember_success(state, projection, stage, verdict)
            outcomes.append(_outcome(state, name, stage.name, standing))
    return outcomes, commands


def _remember_success(state: SourceState, projection: Projection, stage: Stage, verdict: Verdict) -> None:
    """Keep a claim that a look has found to be true, for the attempts to come."""
    claim = _claim_of(state, stage.name)
    if isinstance(stage.rule, Inspected) and claim is not None and verdict is Verdict.SUCCEEDED:
        projection.succeeded[stage.name] = claim


def _commands(
    state: SourceState, name: str, projection: Projection, stage: Stage, standing: StageState, at: str
) -> Iterator[Command]:
    """Yield what is to be done next for a stage that may begin, each command once."""
    rule = stage.rule
    command = Command(state.source, state.kind, state.name, stage.name, state.attempt, projection=name, at=at)
    if not standing.started_at:
        standing.started_at = at
        if not isinstance(rule, Inspected) or rule.claim == stage.name:
            yield command
    if not isinstance(rule, Inspected):
        return
    claim = _claim_of(state, rule.claim)
    if claim is not None and standing.looked < claim.run and not _behind(claim, rule, projection):
        standing.looked = claim.run
        yield msgspec.structs.replace(command, look=True, run=claim.run)


def _open_stages(
    state: SourceState, pipeline: Pipeline
) -> Iterator[tuple[str, Projection, list[Verdict | None], Stage]]:
    """Yield (projection's name, projection, verdicts of the stages before, stage) of each stage without a verdict."""
    shared = _projection(state, EVERYWHERE)
    for name, projection in state.projections.items():
        before: list[Verdict | None] = []
        for stage in pipeline.stages:
            once = isinstance(stage.rule, Balance)
            belongs = shared if once else projection
            if once == (name == EVERYWHERE) and _verdict(belongs, stage) is None:
                yield name, belongs, before, stage
            before.append(_verdict(belongs, stage))
            if stage.name == state.until:
                break


def _verdict(projection: Projection, stage: Stage) -> Verdict | None:
    standing = projection.stages.get(stage.name)
    return standing.verdict if standing else None


def _evaluate(state: SourceState, projection: Projection, stage: Stage, standing: StageState) -> Judgement:
    match stage.rule:
        case Balance():
            claim = _claim_of(state, stage.name)
            return _balance(claim, standing) if claim else _progress(state, standing)
        case Tally(claim=of) as tally:
            claim = _claim_of(state, of)
            return _tally(claim, tally, projection, standing) if claim else (None, "")
        case Chain(claim=of) as chain:
            claim = _claim_of(state, of)
            return _chain(claim, chain, state, projection, standing) if claim else (None, "")
        case Recount():
            report = projection.reports.get(stage.name)
            return _recount(report, standing) if report else (None, "waiting for the recount")
        case Inspected(claim=of) as inspected:
            claim = _claim_of(state, of)
            if claim is None:
                return None, "waiting for its worker"
            return _inspected(claim, inspected, projection, projection.reports.get(stage.name), standing)


def _claim_of(state: SourceState, stage: str) -> Claimed | None:
    claim = state.claims.get(stage)
    return claim if claim is not None and claim.attempt == state.attempt else None


def _progress(state: SourceState, standing: StageState) -> Judgement:
    if (reach := state.reach) is None:
        return None, ""
    standing.claimed, standing.observed = reach.end, reach.position
    return None, f"at {reach.position} of {reach.end}, {max(0, reach.end - reach.position)} behind"


def _balance(claim: Claimed, standing: StageState) -> Judgement:
    counts = claim.counts
    standing.claimed = standing.observed = counts.get("lines", 0)
    parts = sum(counts.get(name, 0) for name in ("events", "dead", "blank"))
    if counts.get("lines", 0) != parts:
        standing.observed = parts
        return Verdict.MISMATCH, f"{counts.get('lines', 0)} lines read, but {parts} accounted for"
    return Verdict.SUCCEEDED, ""


def _tally(claim: Claimed, rule: Tally, projection: Projection, standing: StageState) -> Judgement:
    standing.started_at = standing.started_at or claim.at
    standing.claimed = sum(claim.counts.get(count, 0) for _, _, count in rule.observers)
    standing.observed = sum(
        passed.total
        for name, _, _ in rule.observers
        if (seen := projection.observations.get(name))
        for passed in seen.partitions.values()
    )
    recorded = projection.observations.get(rule.recorded_by)
    awaited, different = [], []
    for name, topic, count in rule.observers:
        seen = projection.observations.get(name)
        total = sum(passed.total for passed in seen.partitions.values()) if seen else 0
        claimed = claim.counts.get(count, 0)
        if not _has_passed(seen, claim.ends, topic):
            awaited.append(f"{name} has committed {total} of {claimed} {count}")
        elif total != claimed:
            different.append(f"{name} committed {total} {count}, claimed were {claimed}")
    if different:
        return Verdict.MISMATCH, "; ".join(different)
    if recorded is None or recorded.attempt < claim.attempt:
        awaited.append(f"{rule.recorded_by} has not recorded the claim")
    return (None, "; ".join(awaited)) if awaited else (Verdict.SUCCEEDED, "")


def _chain(claim: Claimed, rule: Chain, state: SourceState, projection: Projection, standing: StageState) -> Judgement:
    standing.started_at = standing.started_at or claim.at
    standing.claimed = claim.counts.get("events", 0)
    agent = state.projections[EVERYWHERE].observations.get(rule.agent) if EVERYWHERE in state.projections else None
    if not _has_passed(agent, claim.ends, rule.topic):
        return None, f"{rule.agent} has not passed the end of the source"
    sink = projection.observations.get(rule.sink)
    written = agent.produced if agent else {}
    if any(_offset(sink, number) < offset for number, offset in written.items()):
        return None, f"{rule.sink} has not passed what {rule.agent} wrote"
    standing.observed = standing.claimed
    return Verdict.SUCCEEDED, ""


def _recount(report: Reported, standing: StageState) -> Judgement:
    standing.claimed, standing.observed = sum(report.expected.values()), sum(report.found.values())
    if report.expected == report.found:
        return Verdict.SUCCEEDED, report.detail
    names = sorted(report.expected.keys() | report.found.keys())
    different = [
        f"{name}: expected {report.expected.get(name)}, found {report.found.get(name)}"
        for name in names
        if report.expected.get(name) != report.found.get(name)
    ]
    return Verdict.MISMATCH, "; ".join([*different, report.detail] if report.detail else different)


def _behind(claim: Claimed, rule: Inspected, projection: Projection) -> list[str]:
    """Return the observers that have not passed what `claim` tells of."""
    return [
        name for name, topic in rule.observers if not _has_passed(projection.observations.get(name), claim.ends, topic)
    ]


def _inspected(
    claim: Claimed, rule: Inspected, projection: Projection, report: Reported | None, standing: StageState
) -> Judgement:
    claimed = {name: claim.counts.get(name, 0) for name in rule.counts}
    standing.claimed = claimed[rule.counts[0]]
    if report is None or report.run != claim.run:
        behind = _behind(claim, rule, projection)
        return None, f"{', '.join(behind)} has not passed the claim" if behind else "waiting for the look at it"
    standing.observed = report.found.get(rule.counts[0], 0)
    different = [
        f"{name}: claimed {claimed[name]}, found {report.found.get(name)}"
        for name in rule.counts
        if report.found.get(name) != claimed[name]
    ]
    if rule.digest and claim.digest and claim.digest != report.digest:
        different.append(f"digest: claimed {claim.digest}, found {report.digest or 'none'}")
    if different:
        return Verdict.MISMATCH, "; ".join([*different, report.detail] if report.detail else different)
    lost = ", ".join(f"{claimed[name]} {name}" for name in rule.losses if claimed[name])
    return Verdict.SUCCEEDED, f"with losses: {lost}" if lost else ""


def _has_passed(seen: Observed | None, ends: Ends, topic: str) -> bool:
    return all(_offset(seen, number) >= offset for number, offset in ends.get(topic, {}).items())


def _offset(seen: Observed | None, partition: int) -> int:
    passed = seen.partitions.get(partition) if seen else None
    return passed.offset if passed else 0


def _outcome(state: SourceState, projection: str, name: str, stage: StageState) -> Outcome:
    assert stage.verdict is not None, "an outcome has a verdict"  # noqa: S101 - the callers' invariant
    return Outcome(
        source=state.source,
        kind=state.kind,
        name=state.name,
        stage=name,
        attempt=state.attempt,
        projection=projection,
        verdict=stage.verdict,
        reason=stage.reason,
        claimed=stage.claimed,
        observed=stage.observed,
        at=stage.ended_at,
    )
