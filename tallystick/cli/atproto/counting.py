"""How repositories stand that were fetched, counted in the database: there may be millions."""

from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from sinks.schema import source_stages, sources
from tallystick.contracts.atproto import REPOSITORY_KIND
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.stages import Verdict

STAGES = tuple(stage.name for stage in PIPELINES[REPOSITORY_KIND].stages)
MOST_TOLD = 20


class Wanted(msgspec.Struct, frozen=True):
    """Which repositories: those of `sources`, or, where that is None, all whose newest attempt is of that time."""

    since: int = 0
    until: int = 2**63 - 1
    sources: tuple[str, ...] | None = None


class Counts(msgspec.Struct, frozen=True):
    """How many repositories there are, how many have a verdict by stage, and how many have come to which end."""

    repositories: int = 0
    judged: dict[str, int] = {}
    succeeded: int = 0
    failed: int = 0
    mismatch: int = 0

    @property
    def pending(self) -> int:
        """How many still wait for a verdict."""
        return self.repositories - self.succeeded - self.failed - self.mismatch


class Trouble(msgspec.Struct, frozen=True):
    """A repository that has not succeeded: the stage, its verdict, and why."""

    did: str
    stage: str
    verdict: str
    reason: str


def read_counts(connection: sa.Connection, wanted: Wanted) -> Counts:
    """Return how the repositories stand. Raises SQLAlchemyError."""
    joined = sources
    of_stage = {}
    for name in STAGES:
        stage = of_stage[name] = source_stages.alias(name)
        joined = joined.outerjoin(  # type: ignore[assignment]
            stage, sa.and_(stage.c.source_id == sources.c.source_id, stage.c.stage == name)
        )
    verdicts = [stage.c.verdict for stage in of_stage.values()]

    def any_is(verdict: Verdict) -> sa.ColumnElement[bool]:
        return sa.or_(*(column == str(verdict) for column in verdicts))

    all_succeeded = sa.and_(*(column == str(Verdict.SUCCEEDED) for column in verdicts))
    end = sa.case(
        (any_is(Verdict.MISMATCH), str(Verdict.MISMATCH)),
        (any_is(Verdict.FAILED), str(Verdict.FAILED)),
        (all_succeeded, str(Verdict.SUCCEEDED)),
        else_="",
    )
    query = (
        sa.select(end.label("end"), sa.func.count(), *(sa.func.count(column) for column in verdicts))
        .select_from(joined)
        .where(*_meant(wanted))
        .group_by("end")
    )
    ends: dict[str, int] = {}
    judged = dict.fromkeys(STAGES, 0)
    for word, number, *of_each in connection.execute(query):
        ends[word] = int(number)
        judged = {name: judged[name] + int(some) for name, some in zip(STAGES, of_each, strict=True)}
    return Counts(
        repositories=sum(ends.values()),
        judged=judged,
        succeeded=ends.get(Verdict.SUCCEEDED, 0),
        failed=ends.get(Verdict.FAILED, 0),
        mismatch=ends.get(Verdict.MISMATCH, 0),
    )


def read_troubles(connection: sa.Connection, wanted: Wanted, *, most: int = MOST_TOLD) -> list[Trouble]:
    """Return the first repositories that have failed or do not tally, by DID, with the stage of each that says why."""
    bad = [str(Verdict.FAILED), str(Verdict.MISMATCH)]
    query = (
        sa.select(sources.c.name, source_stages.c.stage, source_stages.c.verdict, source_stages.c.reason)
        .join(source_stages, source_stages.c.source_id == sources.c.source_id)
        .where(*_meant(wanted), source_stages.c.verdict.in_(bad))
        .order_by(sources.c.name, source_stages.c.ordinal)
        .limit(most * len(STAGES))
    )
    found: dict[str, Trouble] = {}
    for did, stage, verdict, reason in connection.execute(query):
        found.setdefault(did, Trouble(did, stage, verdict, reason))
    return list(found.values())[:most]


def read_missing(connection: sa.Connection, ids: Collection[str]) -> list[str]:
    """Return which sources the database knows nothing of."""
    known = set(connection.scalars(sa.select(sources.c.source_id).where(sources.c.source_id.in_(ids))))
    return [source for source in ids if source not in known]


def _meant(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    if wanted.sources is not None:
        return [sources.c.source_id.in_(wanted.sources)]
    return [sources.c.kind == REPOSITORY_KIND, sources.c.attempt.between(wanted.since, wanted.until)]
