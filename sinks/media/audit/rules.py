"""The invariants of one medium, each a function of what was found of it, and its class. Pure.

I6, I7 and I8 are of the store (`store`), I12 of the log (`log`); archives and listings of no medium are in `folders`.
"""

import os
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from sinks.media.audit.holdings import Holding, Tally
from sinks.media.audit.violations import Code, MediumClass, Mend, Violation, again
from tallystick.contracts.media import ARCHIVED, COPIED, IMAGED, LOADED, Form

_RECORDS = "records"


class Found(msgspec.Struct, frozen=True):
    """One medium, as it was found in the database and on disk.

    `archive` and `listing` are where they would lie, empty where they are not there. `records` are those of the
    listing, None where there is none. `bad_blobs` are contents of the medium that the store lacks, or has wrong.
    """

    holding: Holding
    tally: Tally
    archive: str = ""
    listing: str = ""
    records: int | None = None
    image_is_there: bool = True
    root_is_there: bool = True
    bad_blobs: int = 0

    @property
    def is_archived(self) -> bool:
        """Whether there is an archive, and a verdict on it; of an import, whether there is one."""
        said = bool(self.holding.done(ARCHIVED)) or self.holding.claims_of_others is not None
        return said and bool(self.archive)


Rule = Callable[[Found], Iterator[Violation]]


def archive_without_copy(found: Found) -> Iterator[Violation]:
    """I1: an archive, or a verdict that there is one, although the copy was not found to be right."""
    held = found.holding
    if held.done(COPIED) or held.leased:
        return
    if found.archive or held.done(ARCHIVED):
        what = "an archive" if found.archive else "the verdict that it is archived"
        yield _violation(
            found, Code.ARCHIVE_WITHOUT_COPY, f"{what}, but no verified copy", found.archive or "source_stages"
        )


def copied_before_loaded(found: Found) -> Iterator[Violation]:
    """I2: a copy of what was not loaded."""
    if found.holding.done(COPIED) and not found.holding.done(LOADED):
        yield _violation(found, Code.COPIED_BEFORE_LOADED, "copied, but not loaded", _stages(found))


def stages_out_of_order(found: Found) -> Iterator[Violation]:
    """I3: a later stage that ended before an earlier one."""
    done = [(stage, at) for stage in (LOADED, COPIED, ARCHIVED) if len(at := found.holding.done(stage)) > 1]
    for (before, earlier), (after, later) in pairwise(done):
        if later < earlier:
            what = f"{after} at {later}, before it was {before} at {earlier}"
            yield _violation(found, Code.STAGES_OUT_OF_ORDER, what, _stages(found))


def rows_differ(found: Found) -> Iterator[Violation]:
    """I4: loaded, but the rows are not as many as the listing, the claim or the other program has records."""
    held, rows = found.holding, found.tally.paths
    if not held.done(LOADED):
        return
    said = held.claims_of_others
    claimed = said.counts.get("paths") if said else held.stages[LOADED].claimed.get(_RECORDS)
    sources = (
        ("its listing", found.records if found.records is not None or not said else said.counts.get("raw_records")),
        ("the other program's table" if said else "the enumeration's claim", claimed),
    )
    different = [f"{number:,} in {name}" for name, number in sources if number is not None and number != rows]
    if not different and said and rows == 0:
        different = ["done, by the word of another program"]
    if different:
        yield _violation(
            found, Code.ROWS_DIFFER, f"{rows:,} paths in the database, {', '.join(different)}", "media_paths"
        )


def copy_without_blob(found: Found) -> Iterator[Violation]:
    """I5: files that are copied, into a blob without a row."""
    if unknown := found.tally.unknown:
        what = f"{unknown:,} files are copied into blobs that are not in media_blobs"
        yield _violation(found, Code.COPY_WITHOUT_BLOB, what, "media_copies")


def pending_files(found: Found) -> Iterator[Violation]:
    """I9: copied, and still there are files without a word."""
    if found.holding.done(COPIED) and (pending := found.tally.pending):
        what = f"copied, but of {pending:,} of {found.tally.wanted:,} files nothing says what became of them"
        yield _violation(found, Code.PENDING_FILES, what, "media_copies")


def content_gone(found: Found) -> Iterator[Violation]:
    """I11: neither image nor verified archive; or a verdict on an archive that is not there."""
    held = found.holding
    if held.done(ARCHIVED) and not found.archive:
        yield _violation(found, Code.CONTENT_GONE, "archived, but there is no archive", _stages(found))
    elif _had_image(held) and not found.image_is_there and not found.is_archived:
        kept = "an archive without a verdict" if found.archive else "no archive"
        yield _violation(found, Code.CONTENT_GONE, f"its image is gone, and there is {kept}", os.fsdecode(held.image))


def listing_without_rows(found: Found) -> Iterator[Violation]:
    """I10: a listing of a medium of which the database has no file, and no word that it was loaded."""
    held = found.holding
    if found.listing and found.records and not found.tally.inodes and not held.done(LOADED) and not held.leased:
        yield Violation(
            Code.LISTING_WITHOUT_ROWS,
            f"a listing of {found.records:,} records, of which the database has none",
            found.listing,
            Mend.INGEST,
            f"tally media ingest {found.listing if not found.root_is_there else os.fsdecode(held.root)}",
            medium=held.medium,
        )


MEDIUM_RULES: tuple[Rule, ...] = (
    archive_without_copy,
    copied_before_loaded,
    stages_out_of_order,
    rows_differ,
    copy_without_blob,
    pending_files,
    listing_without_rows,
    content_gone,
)


def classify(found: Found) -> MediumClass:
    """Return how the medium stands, by what is there; what was said of it only tells what is still to be said."""
    held, rows = found.holding, found.tally
    if rows.inodes == 0 and not _is_empty(held):
        return MediumClass.NO_INODES
    if rows.pending or found.bad_blobs or (rows.failed and not held.acknowledged):
        return MediumClass.FILES_MISSING_BLOBS
    if not held.done(LOADED) or not held.done(COPIED):
        return MediumClass.TIMESTAMPS_ONLY
    return MediumClass.COMPLETE if found.is_archived else MediumClass.NOT_ARCHIVED


def _is_empty(held: Holding) -> bool:
    """Return whether it was found, with a verdict, that there is nothing on the medium."""
    loaded = held.stages.get(LOADED)
    return bool(held.done(LOADED)) and loaded is not None and loaded.claimed.get(_RECORDS) == 0


def _had_image(held: Holding) -> bool:
    return bool(held.image) and (held.form != Form.DEVICE or bool(held.done(IMAGED)))


def _violation(found: Found, code: Code, what: str, where: str) -> Violation:
    medium = found.holding.medium
    if found.root_is_there:
        return Violation(code, what, where, Mend.INGEST, again(medium), medium=medium)
    advice = f"bring {os.fsdecode(found.holding.root)} back, then: {again(medium)}"
    return Violation(code, what, where, Mend.PERSON, advice, medium=medium)


def _stages(found: Found) -> str:
    return "what another program said" if found.holding.claims_of_others else "source_stages"
