"""I12: the verdicts in the database against those in the log, both ways."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec
import sqlalchemy as sa

from sinks.media.audit.violations import Code, Mend, Violation, again
from sinks.schema import source_stages, sources
from tallystick.contracts import stages
from tallystick.contracts.media import Form
from tallystick.contracts.stages import Projection, Verdict
from tallystick.contracts.topics import SOURCE_STAGES
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings

KINDS = frozenset(form.kind for form in Form)
_EVERYWHERE = ""


class Said(msgspec.Struct, frozen=True):
    """What one side says of a medium: its newest attempt, and which stages of that have succeeded."""

    attempt: int
    succeeded: frozenset[str]

    def beyond(self, other: "Said") -> list[str]:
        """Return the stages that have succeeded by this side and not by the `other`, where that is not further."""
        if self.attempt < other.attempt:
            return []
        return sorted(self.succeeded - other.succeeded if self.attempt == other.attempt else self.succeeded)


class _Record(Protocol):
    def value(self) -> bytes | None: ...


def log_says(records: Iterable[_Record], *, projection: str) -> dict[str, Said]:
    """Return what the records of `source.stages` say of each medium in the database `projection`; the newest counts.

    Records that keep no contract are passed over: sinks make dead letters of them.
    """
    newest: dict[str, tuple[int, Said]] = {}
    for record in records:
        try:
            state = stages.decode_state(record.value() or b"")
        except msgspec.MsgspecError:
            continue
        if state.kind not in KINDS or newest.get(state.source, (-1, None))[0] >= state.revision:
            continue
        shared = state.projections.get(_EVERYWHERE, Projection()).stages
        ours = state.projections.get(projection, Projection()).stages
        succeeded = frozenset(
            name
            for name, standing in (shared | ours).items()
            if standing.verdict is Verdict.SUCCEEDED and standing.attempt == state.attempt
        )
        newest[state.source] = (state.revision, Said(state.attempt, succeeded))
    return {medium: said for medium, (_, said) in newest.items()}


def read_log(settings: Settings, *, projection: str) -> dict[str, Said]:
    """Return what the log says now. Raises ServiceError where it can't be read."""
    topic = settings.kafka.topic(SOURCE_STAGES)
    return log_says(read_whole(settings, topic, client_id="audit"), projection=projection)


def database_says(connection: sa.Connection) -> dict[str, Said]:
    """Return what the database says of each medium."""
    known = sa.select(sources.c.source_id, sources.c.attempt).where(sources.c.kind.in_(KINDS))
    attempts = {row.source_id: row.attempt for row in connection.execute(known)}
    succeeded: dict[str, set[str]] = {}
    query = (
        sa.select(source_stages.c.source_id, source_stages.c.stage)
        .join(sources, sources.c.source_id == source_stages.c.source_id)
        .where(
            sources.c.kind.in_(KINDS),
            source_stages.c.verdict == Verdict.SUCCEEDED.value,
            source_stages.c.attempt == sources.c.attempt,
        )
    )
    for medium, stage in connection.execute(query):
        succeeded.setdefault(medium, set()).add(stage)
    return {medium: Said(attempt, frozenset(succeeded.get(medium, ()))) for medium, attempt in attempts.items()}


def disagreements(database: Mapping[str, Said], log: Mapping[str, Said]) -> Iterator[Violation]:
    """Yield I12 for each medium of which database and log don't say the same."""
    nothing = Said(0, frozenset())
    for medium in sorted(database.keys() | log.keys()):
        ours, theirs = database.get(medium, nothing), log.get(medium, nothing)
        only_ours, only_theirs = ours.beyond(theirs), theirs.beyond(ours)
        if only_ours:
            what = f"{', '.join(only_ours)} succeeded in the database, but the log has no such verdict"
            yield Violation(Code.LOG_DISAGREES, what, "source_stages", Mend.INGEST, again(medium), medium=medium)
        if only_theirs:
            what = f"{', '.join(only_theirs)} succeeded by the log, but not in the database"
            advice = "let the sink `sources` run; if that does not help: tally db replay sources --yes"
            yield Violation(Code.LOG_DISAGREES, what, SOURCE_STAGES.name, Mend.PERSON, advice, medium=medium)
