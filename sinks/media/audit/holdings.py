"""What the database holds of each medium, counted: the one half of the audit. Media are looked up by their full id."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa

from sinks.media.reading import copied_files
from sinks.schema import (
    media,
    media_blobs,
    media_inodes,
    media_leases,
    media_paths,
    media_runs,
    source_stages,
)
from sinks.schema.base import Now
from sinks.standing import read_time
from tallystick.contracts.media import COPIED, ENUMERATED, LOADED, CopyStatus
from tallystick.contracts.stages import Verdict

IMPORTED = "imported"
"""The stage of a run that brought a medium from another program; its evidence is what that program said."""


class StageHeld(msgspec.Struct, frozen=True):
    """How the database says that a stage stands; `claimed` and `digest` are what its claim says, where there is one.

    A stage that has not `begun` waits for the one before it, which may have failed.
    """

    attempt: int
    verdict: Verdict | None
    ended_at: str
    claimed: Mapping[str, int]
    digest: str = ""
    begun: bool = True


class Imported(msgspec.Struct, frozen=True):
    """What another program said of a medium, and what was found when it was imported. Times are canonical, or empty."""

    loaded_at: str
    copied_at: str
    counts: Mapping[str, int]


class Holding(msgspec.Struct, frozen=True):
    """One medium as the database holds it."""

    medium: str
    name: str
    form: str
    root: bytes
    image: bytes
    acknowledged: str
    stages: Mapping[str, StageHeld]
    imported: Imported | None
    leased: bool

    @property
    def claims_of_others(self) -> Imported | None:
        """What another program said of it, where no stage of ours has said anything yet."""
        return None if self.stages else self.imported

    def done(self, stage: str) -> str:
        """Return when `stage` was done, by the word that counts; empty where it wasn't."""
        if said := self.claims_of_others:
            return {LOADED: said.loaded_at, COPIED: said.copied_at}.get(stage, "")
        held = self.stages.get(stage)
        return (held.ended_at or "-") if held and held.verdict is Verdict.SUCCEEDED else ""

    @property
    def working(self) -> bool:
        """Whether somebody is at work on it: holds it, or a stage has begun that has no verdict yet."""
        return self.leased or any(held.begun and held.verdict is None for held in self.stages.values())

    @property
    def loaded_attempt(self) -> int | None:
        """The attempt whose rows were found to be all of them, None where none was."""
        loaded = self.stages.get(LOADED)
        return loaded.attempt if loaded and loaded.verdict is Verdict.SUCCEEDED else None


class Tally(msgspec.Struct, frozen=True):
    """The rows of one medium, counted. `wanted` are regular files that need a copy: not all their paths are excluded.

    Of those `pending` have no word on what became of them as they are now, `failed` are known not to be copied, and
    `unknown` are copied into a blob that is in no row of its own.
    """

    paths: int
    inodes: int
    wanted: int
    pending: int
    failed: int
    unknown: int


def find_holdings(connection: sa.Connection, ids: Sequence[str] | None = None) -> Iterator[Holding]:
    """Yield the media with the given ids, or all, by id, a page at a time."""
    after = ""
    while True:
        query = sa.select(media).where(media.c.medium > after).order_by(media.c.medium).limit(_PAGE)
        if ids is not None:
            query = query.where(media.c.medium.in_(ids))
        page = connection.execute(query).mappings().all()
        if not page:
            return
        named = [row["medium"] for row in page]
        stages, imports, leases = _stages(connection, named), _imports(connection, named), _leases(connection, named)
        for row in page:
            medium = row["medium"]
            yield Holding(
                medium=medium,
                name=row["name"],
                form=row["form"],
                root=bytes(row["root"]),
                image=bytes(row["image"]),
                acknowledged=row["acknowledged"],
                stages=stages.get(medium, {}),
                imported=imports.get(medium),
                leased=medium in leases,
            )
        after = named[-1]


_PAGE = 200


def count(connection: sa.Connection, holding: Holding) -> Tally:
    """Return the rows of one medium, counted; of the attempt that was loaded, else of the newest that has any."""
    medium, inode, path = holding.medium, media_inodes, media_paths
    attempt = holding.loaded_attempt
    if attempt is None:
        attempt = connection.scalar(sa.select(sa.func.max(inode.c.revision)).where(inode.c.medium == medium)) or 0
    files = copied_files(medium, attempt).subquery()
    blob, wanted = media_blobs, files.c.excluded == 0
    success = files.c.status == CopyStatus.SUCCESS.value
    conditions = (
        wanted,
        wanted & (files.c.status.is_(None) | (success & (files.c.copied == 0))),
        wanted & files.c.status.is_not(None) & ~success,
        success & blob.c.blobid.is_(None),
    )
    numbers = [sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0) for condition in conditions]
    query = sa.select(*numbers).select_from(files.outerjoin(blob, blob.c.blobid == files.c.blobid))
    paths, inodes = (
        connection.scalar(
            sa.select(sa.func.count()).where(table.c.medium == medium, table.c.revision == attempt).select_from(table)
        )
        for table in (path, inode)
    )
    return Tally(int(paths or 0), int(inodes or 0), *map(int, connection.execute(query).one()))


def someone_copies(connection: sa.Connection) -> bool:
    """Return whether any medium is being copied: held by somebody, or a stage up to its copy has begun."""
    held = sa.select(media_leases.c.medium).where(media_leases.c.expires_at > Now())
    begun = (
        sa.select(media.c.medium)
        .join(source_stages, source_stages.c.source_id == media.c.medium)
        .where(source_stages.c.stage.in_((ENUMERATED, LOADED, COPIED)))
        .where(source_stages.c.started_at.is_not(None), source_stages.c.verdict.is_(None))
    )
    return any(connection.scalar(query.limit(1)) is not None for query in (held, begun))


def _stages(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, StageHeld]]:
    found: dict[str, dict[str, StageHeld]] = {}
    query = sa.select(source_stages).where(source_stages.c.source_id.in_(ids)).order_by(source_stages.c.ordinal)
    for row in connection.execute(query).mappings():
        claim = _object(_object(row["evidence"]).get("claim"))
        found.setdefault(row["source_id"], {})[row["stage"]] = StageHeld(
            attempt=row["attempt"],
            verdict=Verdict(row["verdict"]) if row["verdict"] else None,
            ended_at=read_time(row["ended_at"]),
            claimed=_numbers(claim.get("counts")),
            digest=str(claim.get("digest", "")),
            begun=row["started_at"] is not None,
        )
    return found


def _imports(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Imported]:
    runs = media_runs
    query = sa.select(runs).where(runs.c.medium.in_(ids), runs.c.stage == IMPORTED).order_by(runs.c.run)
    found: dict[str, Imported] = {}
    for row in connection.execute(query).mappings():  # the last run of a medium counts
        said = _object(row["evidence"])
        found[row["medium"]] = Imported(
            loaded_at=str(said.get("enum_done", "")),
            copied_at=str(said.get("copy_done", "")),
            counts=_numbers(row["counts"]),
        )
    return found


def _leases(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    lease = media_leases
    return set(connection.scalars(sa.select(lease.c.medium).where(lease.c.medium.in_(ids), lease.c.expires_at > Now())))


def _numbers(value: Any) -> Mapping[str, int]:
    return {str(name): int(number) for name, number in _object(value).items()}


def _object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object as either database gives it, empty where there is none."""
    if isinstance(value, str):
        value = orjson.loads(value)
    return value if isinstance(value, dict) else {}
