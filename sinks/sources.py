"""Sources and their stages: the newest states of `source.stages` into `sources` and `source_stages`.

Once a claim is in the database, that is observed, so that even a claim of nothing needs a database that knows of it.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import sqlalchemy as sa

from sinks import schema
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from sinks.writers.target import Target
from tallystick.contracts import stages
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.pipelines import Balance, Chain, Inspected, Recount, Stage, Tally
from tallystick.contracts.stages import Observed, Projection, SourceState
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import now
from tallystick.contracts.topics import SOURCE_STAGES
from tallystick.errors import ContractError
from tallystick.kafka.consuming import PROMPT

SOURCES = Target(
    table=schema.sources,
    columns=(
        "source_id",
        "revision",
        "kind",
        "name",
        "attempt",
        "lines",
        "events",
        "dead_letters",
        "blank",
        "bytes",
        "digest",
        "claimed_attempt",
        "confirmed_attempt",
        "heard_at",
        "live_position",
        "live_end",
        "live_since",
        "until",
    ),
    key=("source_id",),
)
STAGES = Target(
    table=schema.source_stages,
    columns=(
        "source_id",
        "stage",
        "ordinal",
        "attempt",
        "verdict",
        "reason",
        "claimed",
        "observed",
        "started_at",
        "ended_at",
        "evidence",
    ),
    key=("source_id", "stage"),
    parent=("source_id",),
)
_COUNTS = ("lines", "events", "dead", "blank", "bytes")
_EVERYWHERE = ""
_to_json = msgspec.json.encode


class Sources(Sink[SourceState]):
    """See Sink. Of the stages, those are stored that concern every database, and those that concern this one."""

    name = "sources"
    topic = SOURCE_STAGES
    fetching = PROMPT

    def __init__(self, writer: Writer, *, projection: str) -> None:
        self._writer, self._projection = writer, projection

    def decode(self, record: Record) -> Decoded[SourceState]:
        """See Sink."""
        if record.value is None:
            raise ContractError("not the state of a source: it has no value")
        try:
            state = stages.decode_state(record.value)
        except msgspec.DecodeError as error:
            raise ContractError(f"not the state of a source: {error}") from error
        return Decoded(entries=(state,), contents=(record.value,))

    def write(self, connection: sa.Connection, entries: Sequence[SourceState]) -> bytes:
        """See Sink."""
        newest = _newest(entries)
        known = self._writer.revisions(connection, SOURCES, [(source,) for source in newest])
        moved = [state for state in newest.values() if known.get((state.source,), -1) < state.revision]
        if moved:
            self._writer.move_forward(connection, SOURCES, [self._source_row(state) for state in moved])
            parents = [(state.source,) for state in moved]
            stage_rows = [row for state in moved for row in self._stage_rows(state)]
            self._writer.replace_children(connection, STAGES, parents, stage_rows)
        return bytes([INSERTED]) * len(entries)

    def observe(self, entries: Iterable[SourceState]) -> Iterator[Observed]:
        """See Sink: claims that are now stored, as long as the stages agent doesn't say that it knows."""
        for state in _newest(entries).values():
            if (claimed := claimed_attempt(state)) > confirmed_attempt(state, self._projection):
                yield self._observed(state.source, claimed)

    def unconfirmed(self, connection: sa.Connection) -> list[Observed]:
        """See Sink."""
        table = schema.sources
        query = sa.select(table.c.source_id, table.c.claimed_attempt).where(
            table.c.claimed_attempt > table.c.confirmed_attempt
        )
        return [self._observed(row.source_id, row.claimed_attempt) for row in connection.execute(query)]

    def _observed(self, source: str, attempt: int) -> Observed:
        return Observed(source=source, observer=self.name, projection=self._projection, at=now(), attempt=attempt)

    def _source_row(self, state: SourceState) -> Row:
        counts, digest = _claimed(state)
        return (
            state.source,
            state.revision,
            printable(state.kind),
            printable(state.name),
            state.attempt,
            *(counts.get(name, 0) for name in _COUNTS),
            digest,
            claimed_attempt(state),
            confirmed_attempt(state, self._projection),
            state.heard_at or None,
            *((reach.position, reach.end, reach.since or None) if (reach := state.reach) else (None, None, None)),
            state.until,
        )

    def _stage_rows(self, state: SourceState) -> Iterator[Row]:
        pipeline = PIPELINES.get(state.kind)
        shared = state.projections.get(_EVERYWHERE, Projection())
        ours = state.projections.get(self._projection, Projection())
        for ordinal, stage in enumerate(pipeline.stages if pipeline else ()):
            standing = (shared if isinstance(stage.rule, Balance) else ours).stages.get(stage.name)
            if standing is None:
                continue
            yield (
                state.source,
                stage.name,
                ordinal,
                standing.attempt,
                standing.verdict.value if standing.verdict else None,
                printable(standing.reason),
                standing.claimed,
                standing.observed,
                standing.started_at or None,
                standing.ended_at or None,
                printable(_to_json(evidence(stage, state, ours)).decode()),
            )


def evidence(stage: Stage, state: SourceState, ours: Projection) -> dict[str, object]:
    """Return the halves that the rule of `stage` compares, as far as they are known."""
    shared = state.projections.get(_EVERYWHERE, Projection())
    match stage.rule:
        case Balance():
            return {"claim": state.claims.get(stage.name)}
        case Tally() as rule:
            names = [name for name, _, _ in rule.observers]
            return {"claim": rule.claim, "observed": _partitions(ours, names)}
        case Chain() as rule:
            agent = shared.observations.get(rule.agent)
            return {
                "claim": rule.claim,
                "observed": _partitions(shared, [rule.agent]) | _partitions(ours, [rule.sink]),
                "produced": agent.produced if agent else {},
            }
        case Recount():
            return {"report": ours.reports.get(stage.name)}
        case Inspected() as rule:
            return {
                "claim": state.claims.get(rule.claim),
                "report": ours.reports.get(stage.name),
                "succeeded": ours.succeeded.get(stage.name),
            }


def _claimed(state: SourceState) -> tuple[dict[str, int], str | None]:
    """Return what the newest attempt with a claim has claimed at all of its stages, and the digest of the first."""
    newest = claimed_attempt(state)
    claims = [claim for claim in state.claims.values() if claim.attempt == newest]
    counts = {name: count for claim in claims for name, count in claim.counts.items()}
    return counts, claims[0].digest if claims else None


def claimed_attempt(state: SourceState) -> int:
    """Return the newest attempt that has a claim, 0 where none has."""
    return max((claim.attempt for claim in state.claims.values()), default=0)


def confirmed_attempt(state: SourceState, projection: str) -> int:
    """Return the attempt whose claim the stages agent knows to be in the database `projection`, 0 where none is."""
    known = state.projections.get(projection, Projection()).observations.get(Sources.name)
    return known.attempt if known else 0


def _partitions(projection: Projection, observers: Iterable[str]) -> dict[str, object]:
    found = {name: projection.observations.get(name) for name in observers}
    return {name: observed.partitions for name, observed in found.items() if observed}


def _newest(states: Iterable[SourceState]) -> dict[str, SourceState]:
    newest: dict[str, SourceState] = {}
    for state in states:
        if state.source not in newest or newest[state.source].revision < state.revision:
            newest[state.source] = state
    return newest
