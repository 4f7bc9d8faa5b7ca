"""By hand: enumerate a set of test media, and compare each with the truth about it; a Markdown table.

Usage: python -m tests.media_sets FOLDER. It holds `media` (images), `raw` (listings) and `truth`: for each of the trees
`full`, `plain` and `cdrom`, of which the images were made, a file `NAME.find0` of records that end with NUL, their
fields (type, size, links, time, target, path) joined by 0x1C.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from producers.media.enumeration import enumerate_medium
from producers.media.errors import MediaError
from producers.media.rules import Rules
from tallystick.contracts.media import Form, Found, Mark, ProblemKind
from tests.bench.processes import print_table
from tests.media_fixtures import medium

LOST = b"lost+found"


class Expected(msgspec.Struct, frozen=True):
    """What a medium must come to: the trees on its parts, or an outcome, and what must be told beside."""

    trees: tuple[tuple[int, str], ...] = ()
    outcome: str = "enumerated"
    damaged: int = 0
    unreachable: int = 0
    lost: int = 0
    """How many paths of the trees are not there to be found."""
    names: bool = True
    """Whether the names are those of the tree, as far as whoever made the image kept them."""


def _whole(tree: str, **more: object) -> Expected:
    return Expected(((0, tree),), **more)  # type: ignore[arg-type]


DISK = ((1, "plain"), (2, "plain"), (5, "cdrom"), (6, "ntfs"))
EXPECTED = {
    "blank.img": Expected(outcome="no_filesystem"),
    "btrfs.img": Expected(outcome="unsupported_fs"),
    "cdrom_iso9660_rr_joliet.iso": _whole("cdrom"),
    "disk_gpt_2p.img": Expected(DISK[:2], names=False),
    "disk_mbr_multi.img": Expected(DISK, names=False),
    "disk_truncated_p6.img": Expected(DISK, damaged=1, names=False),
    "ext2_corrupt_dir.img": _whole("plain", unreachable=10, lost=10),
    "ext2_identical_copy.img": _whole("plain"),
    "ext2_plain.E01": Expected(outcome="unsupported_fs"),
    "ext2_plain.img": _whole("plain"),
    "ext4_badblocks.img": _whole("full", damaged=2),
    "ext4_dirty_journal.img": _whole("full"),
    "ext4_empty.img": _whole("nothing"),
    "ext4_full.img": _whole("full"),
    "ext4_truncated3M.img": _whole("full", damaged=11, unreachable=5058, lost=5061),
    "floppy_beyond_eof.img": _whole("floppy", damaged=3, names=False),
    "floppy_fat12.img": _whole("floppy", names=False),
    "hfs_classic.img": Expected(outcome="unsupported_fs"),
    "hybrid_iso_hfs_apm.iso": _whole("plain"),
    "hybrid_iso_hfsplus.iso": Expected(((0, "plain"), (3, "plain")), names=False),
    "iso9660_level1.iso": _whole("cdrom"),
    "iso_udf_bridge.iso": _whole("plain"),
    "ntfs.img": _whole("ntfs"),
    "random.img": Expected(outcome="no_filesystem"),
    "same_ends_1.img": Expected(outcome="no_filesystem"),
    "same_ends_2.img": Expected(outcome="no_filesystem"),
    "squashfs.img": Expected(outcome="unsupported_fs"),
    "tar_not_disk.img": Expected(outcome="no_filesystem"),
    "vfat.img": _whole("plain", names=False),
    "zero_length.img": Expected(outcome="no_filesystem"),
}
LISTINGS = {
    "bad_number.raw": "bad_number",
    "bad_type.raw": "unknown_type",
    "bigint.raw": "number_too_large",
    "dup_path.raw": "10 records",
    "dup_path_other_ino.raw": "path_conflict",
    "empty.raw": "empty",
    "good.raw": "10 records",
    "nl_fs_bs_paths.raw": "5 records",
    "only_dirs.raw": "1 records",
    "short_record.raw": "short_record",
    "truncated.raw": "truncated",
    "two_dev.raw": "11 records",
}
HEADS = (
    *("medium", "expected", "records", "files", "folders", "own", "damaged", "unreachable"),
    *("other problems", "outcome", "CPU s", "as expected"),
)
ON_NTFS = (b".", b"DUP.BIN", b"BIG.BIN", b"EMPTY.TXT", b"Long File Name with spaces.document", "Ümläut.txt".encode())


def main() -> None:
    """Print both tables; exit with 1 where something is not as expected."""
    folder = Path(sys.argv[1])
    trees = _trees(folder / "truth")
    rows = [row for path in sorted((folder / "media").iterdir()) if (row := _medium(path, trees))]
    print_table("Media", HEADS, rows)
    listings = [_listing(path) for path in sorted((folder / "raw").iterdir())]
    print_table("Listings", ("listing", "expected", "outcome", "as expected"), listings)
    if any(row[-1] != "yes" for row in rows + listings):
        sys.exit(1)


def _trees(truth: Path) -> dict[str, dict[bytes, str]]:
    """Return the types of all paths of each tree."""
    trees: dict[str, dict[bytes, str]] = {"nothing": {b".": "d"}}
    for name in ("full", "plain", "cdrom"):
        records = (each.split(b"\x1c", 5) for each in (truth / f"{name}.find0").read_bytes().split(b"\0")[:-1])
        trees[name] = {fields[5] or b".": fields[0].decode() for fields in records}
    trees["ntfs"] = {path: letter for path, letter in trees["plain"].items() if path in ON_NTFS}
    trees["floppy"] = {
        path[5:] or b".": letter for path, letter in trees["plain"].items() if path[:5] in (b".", b"DIR0/")
    }
    return trees


def _medium(path: Path, trees: dict[str, dict[bytes, str]]) -> tuple[object, ...] | None:
    if (expected := EXPECTED.get(path.name)) is None:
        return None
    mapped = path.with_suffix(".map")
    what = medium(Form.IMAGE, path, map=bytes(mapped) if mapped.exists() else b"", size=path.stat().st_size)
    started = time.process_time()
    try:
        with enumerate_medium(what, Rules()) as enumeration:
            found = [entry for entry in enumeration if isinstance(entry, Found)]
    except MediaError as error:
        seconds = time.process_time() - started
        right = error.reason == expected.outcome
        return path.name, expected.outcome, *["-"] * 7, error.reason, f"{seconds:.2f}", _yes(right)
    seconds = time.process_time() - started
    counts, kinds = enumeration.counts, Counter(enumeration.problem_kinds)
    damaged, unreachable = kinds.pop(ProblemKind.FILE_DAMAGED, 0), kinds.pop(ProblemKind.INODE_UNREACHABLE, 0)
    users = [each for each in found if Mark.METADATA not in each.marks and each.path != LOST]
    wanted = [(part, name, letter) for part, tree in expected.trees for name, letter in trees[tree].items()]
    right = (
        expected.outcome == "enumerated"
        and len(users) == len(wanted) - expected.lost
        and (damaged, unreachable) == (expected.damaged, expected.unreachable)
        and (not expected.names or {(each.part, each.path, each.type) for each in users} <= set(wanted))
    )
    return (
        path.name,
        f"{len(wanted) - expected.lost} of users",
        counts["records"],
        counts["files"],
        counts["folders"],
        len(found) - len(users),
        damaged,
        unreachable,
        ", ".join(_told(kinds)) or "-",
        "enumerated",
        f"{seconds:.2f}",
        _yes(right),
    )


def _told(kinds: Counter[str]) -> Iterator[str]:
    for kind, number in kinds.items():
        yield f"{number} {ProblemKind(kind).value}"


def _listing(path: Path) -> tuple[object, ...]:
    try:
        with enumerate_medium(medium(Form.LISTING, path), Rules()) as enumeration:
            for _ in enumeration:
                pass
        outcome = f"{enumeration.counts['records']} records"
    except MediaError as error:
        outcome = error.reason
    return path.name, LISTINGS[path.name], outcome, _yes(outcome == LISTINGS[path.name])


def _yes(right: bool) -> str:
    return "yes" if right else "NO"


if __name__ == "__main__":
    os.umask(0o022)
    main()
