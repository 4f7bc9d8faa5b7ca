"""From what ntt knows of a file to what is sent of it."""

import msgspec
import pytest

from producers.media.ntt.database import NttPath
from producers.media.ntt.rows import below, copied, entry
from producers.media.ntt.tables import Tables, candidates
from tallystick.contracts.media import CopyError, CopyStatus, Found, Problem, ProblemKind

AT = "2026-01-01T00:00:00.000000Z"
ROOT = b"/mnt/ntt/" + b"d" * 32
BLOBID = "ab" * 32
ROW = NttPath(
    path=ROOT + b"/docs/a\n\xff",
    dev=7,
    ino=4,
    nlink=2,
    size=5,
    mtime=-3,
    type="f",
    blobid="",
    status="",
    error="",
    claimed_by="",
    excluded="",
)


def row(**changes: object) -> NttPath:
    return msgspec.structs.replace(ROW, **changes)


def found(given: NttPath) -> Found:
    made = entry(given, root=ROOT, part=1)
    assert isinstance(made, Found)
    return made


def test_a_path_with_its_inode_is_found_below_the_mount_point() -> None:
    assert found(ROW) == Found(part=1, ino=4, type="f", nlink=2, size=5, mtime=-3, path=b"docs/a\n\xff", dev=7)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        (ROOT, ROOT, b"."),
        (ROOT + b"/a", ROOT, b"a"),
        (ROOT + b"x/a", ROOT, ROOT[1:] + b"x/a"),
        (b"/elsewhere/a", ROOT, b"elsewhere/a"),
        (b"/mnt/a/", b"", b"mnt/a"),
    ],
    ids=["the root itself", "below it", "a neighbour whose name begins alike", "elsewhere", "where no root is known"],
)
def test_paths_are_told_below_the_root_and_none_is_lost(path: bytes, root: bytes, expected: bytes) -> None:
    assert below(path, root=root) == expected


def test_a_file_of_an_unknown_type_is_missed_rather_than_passed_over() -> None:
    assert found(row(type="")).type == found(row(type="?")).type == "f"


@pytest.mark.parametrize(
    ("changes", "excluded"),
    [
        ({}, ""),
        ({"excluded": "pattern_match"}, "ntt:pattern_match"),
        ({"claimed_by": "EXCLUDED: too odd"}, "ntt:EXCLUDED: too odd"),
        ({"claimed_by": "worker-1"}, ""),
    ],
    ids=["nothing", "a path by a pattern", "an inode by its mark", "an inode that somebody works on"],
)
def test_what_ntt_excludes_stays_excluded(changes: dict[str, object], excluded: str) -> None:
    assert found(row(**changes)).excluded == excluded


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"path": None}, ProblemKind.INODE_UNREACHABLE), ({"size": None}, ProblemKind.ATTRIBUTES_UNREADABLE)],
    ids=["an inode without a path", "a path without an inode"],
)
def test_half_of_a_file_is_a_problem(changes: dict[str, object], kind: ProblemKind) -> None:
    made = entry(row(**changes), root=ROOT, part=0)
    assert isinstance(made, Problem)
    assert (made.kind, made.ino) == (kind, 4)


SUCCESS, RETRYABLE, PERMANENT = CopyStatus.SUCCESS, CopyStatus.RETRYABLE, CopyStatus.PERMANENT
CASES: list[tuple[str, dict[str, object], int | None, tuple[CopyStatus, CopyError | None] | None]] = [
    ("nothing is known of it", {}, None, None),
    ("its content is in the store", {"blobid": BLOBID}, 5, (SUCCESS, None)),
    ("its content is not in the store", {"blobid": BLOBID}, None, None),
    ("what is in the store is shorter", {"blobid": BLOBID}, 4, None),
    ("its digest is none", {"blobid": "xyz"}, None, (PERMANENT, CopyError.HASH)),
    ("it may be tried again", {"status": "failed_retryable", "error": "io_error: 5"}, None, (RETRYABLE, CopyError.IO)),
    ("it failed for good", {"status": "failed_permanent", "error": "?"}, None, (PERMANENT, CopyError.UNKNOWN)),
    ("it was given up", {"claimed_by": "MAX_RETRIES_EXCEEDED"}, None, (PERMANENT, CopyError.UNKNOWN)),
    ("it is said to be copied, without a digest", {"status": "success"}, None, None),
]


@pytest.mark.parametrize(
    ("changes", "stored", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_ntts_word_on_a_copy_is_believed_as_far_as_it_can_be_seen(
    changes: dict[str, object], stored: int | None, expected: tuple[CopyStatus, CopyError | None] | None
) -> None:
    given = row(**changes)
    told = copied(found(given), given, stored=stored, at=AT)
    assert (told and (told.status, told.error)) == expected
    assert told is None or (told.run, told.part, told.ino, told.path) == (0, 1, 4, b"docs/a\n\xff")


INODE = dict.fromkeys(("medium_hash", "ino", "size"), "BIGINT")
PATH = dict.fromkeys(("medium_hash", "ino", "path"), "BYTEA")


@pytest.mark.parametrize(
    ("catalogue", "expected"),
    [
        ({"inode": INODE, "path": PATH}, [Tables("path", "inode")]),
        (
            {"inode_p_dddddddd": INODE, "path_p_dddddddd": PATH, "inode_p_eeeeeeee": INODE, "path_p_eeeeeeee": PATH},
            [Tables("path_p_dddddddd", "inode_p_dddddddd")],
        ),
        ({"paths": INODE | PATH}, [Tables("paths")]),
        ({"paths": INODE | PATH, "inode": INODE, "path": PATH}, [Tables("paths"), Tables("path", "inode")]),
        ({"paths": PATH}, []),
        ({"inode_p_dddddddd": INODE}, []),
    ],
    ids=[
        "split",
        "partitions",
        "flat",
        "while it was migrated",
        "flat, without sizes",
        "a partition without its paths",
    ],
)
def test_tables_are_found_by_their_columns(catalogue: dict[str, dict[str, str]], expected: list[Tables]) -> None:
    assert list(candidates(catalogue, "d" * 32)) == expected
