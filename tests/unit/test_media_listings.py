"""Listings that exist already: those of ntt, and Tallystick's own."""

from pathlib import Path

import pytest
from blake3 import blake3

from producers.media.enumeration import Enumeration, enumerate_medium
from producers.media.errors import MalformedError, PreconditionError
from producers.media.rules import Rules
from tallystick.contracts import listings
from tallystick.contracts.listings import Sidecar
from tallystick.contracts.media import ExitCode, Form, Found
from tests.media_fixtures import medium, unpack


def record(path: bytes, ino: int, *, kind: bytes = b"f", dev: int = 2049, nlink: int = 1) -> bytes:
    return b"%b\x1c%d\x1c%d\x1c%d\x1c3\x1c1\x1c%b\0" % (kind, dev, ino, nlink, path)


ROOT = record(b"/m", 2, kind=b"d", nlink=2)
GOOD = ROOT + b"".join(record(b"/m/f%d" % number, 10 + number) for number in range(9))


def run(path: Path) -> tuple[Enumeration, list[Found]]:
    with enumerate_medium(medium(Form.LISTING, path), Rules()) as enumeration:
        return enumeration, [entry for entry in enumeration if isinstance(entry, Found)]


def read(listing: bytes, folder: Path) -> tuple[Enumeration, list[Found]]:
    path = folder / "medium.raw"
    path.write_bytes(listing)
    return run(path)


def test_records_are_found_below_the_folder_that_comes_first(tmp_path: Path) -> None:
    enumeration, found = read(GOOD, tmp_path)
    assert [each.path for each in found] == [b".", *(b"f%d" % number for number in range(9))]
    assert (enumeration.counts["records"], enumeration.counts["files"], enumeration.mount(0)) == (10, 9, b"/m")


@pytest.mark.parametrize(
    ("listing", "paths", "mount"),
    [
        pytest.param(record(b"/m/x", 1) + record(b"/m/y", 2), [b"m/x", b"m/y"], b"/", id="no folder comes first"),
        pytest.param(ROOT + record(b"/mother/x", 3), [b"m", b"mother/x"], b"/", id="one lies elsewhere"),
        pytest.param(record(b"/", 2, kind=b"d") + record(b"/x", 3), [b".", b"x"], b"/", id="a root at /"),
        pytest.param(record(b"/m/", 2, kind=b"d") + record(b"/m/x", 3), [b".", b"x"], b"/m", id="a slash at the end"),
        pytest.param(ROOT, [b"."], b"/m", id="only a folder"),
        pytest.param(record(b"/m/n\nl\x1c\xff", 1), [b"m/n\nl\x1c\xff"], b"/", id="any byte in a path"),
    ],
)
def test_paths_are_told_below_what_all_have_in_common(
    listing: bytes, paths: list[bytes], mount: bytes, tmp_path: Path
) -> None:
    enumeration, found = read(listing, tmp_path)
    assert ([each.path for each in found], enumeration.mount(0)) == (paths, mount)


def test_devices_are_parts_in_the_order_of_their_appearance(tmp_path: Path) -> None:
    _, found = read(GOOD + record(b"/m/p2/other", 11, dev=2050), tmp_path)
    assert [(each.part, each.dev, each.ino) for each in found][-2:] == [(0, 2049, 18), (1, 2050, 11)]


def test_16_a_path_that_stands_twice_with_the_same_inode_counts_once(tmp_path: Path) -> None:
    enumeration, found = read(GOOD + record(b"/m/f3", 13), tmp_path)
    assert enumeration.counts["records"] == len({each.path for each in found}) == 10


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(record(b"/m/f1", 77), id="another inode"),
        pytest.param(record(b"/m/f1", 11, dev=3), id="another device"),
    ],
)
def test_16_a_path_that_stands_twice_with_two_inodes_is_a_conflict(other: bytes, tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match=f"byte {len(GOOD)}") as raised:
        read(GOOD + other + record(b"/m/last", 99), tmp_path)
    assert (raised.value.reason, raised.value.exit_code) == ("path_conflict", ExitCode.MALFORMED)


@pytest.mark.parametrize(
    ("listing", "reason"),
    [
        pytest.param(b"", "empty", id="no record"),
        pytest.param(GOOD[:-9], "truncated", id="no NUL at the end"),
        pytest.param(GOOD + b"f\x1c2049\x1c99\0", "short_record", id="three fields"),
        pytest.param(GOOD + record(b"/m/big", 2**64 - 1), "number_too_large", id="an inode of 64 bits"),
    ],
)
def test_a_listing_that_is_not_whole_yields_nothing(listing: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedError) as raised:
        read(listing, tmp_path)
    assert (raised.value.reason, raised.value.exit_code) == (reason, ExitCode.MALFORMED)


def sidecar(listing: bytes, folder: Path) -> None:
    beside = Sidecar(
        medium="0" * 32,
        attempt=1,
        records=listing.count(b"\0"),
        bytes=len(listing),
        blake3=blake3(listing).hexdigest(),
        digest="",
        counts={},
    )
    (folder / "medium.raw.json").write_bytes(listings.encode_sidecar(beside))


def test_14_a_listing_that_was_cut_between_records_is_known_by_its_sidecar(tmp_path: Path) -> None:
    sidecar(GOOD, tmp_path)
    assert read(GOOD, tmp_path)[0].counts["records"] == 10
    with pytest.raises(MalformedError) as raised:
        read(GOOD[: len(GOOD) - len(record(b"/m/f8", 18))], tmp_path)
    assert raised.value.reason == "not_as_its_sidecar_says"


def test_a_sidecar_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "medium.raw.json").write_bytes(b"{")
    with pytest.raises(MalformedError, match=r"medium\.raw\.json"):
        read(GOOD, tmp_path)


def test_a_listing_that_is_not_there_is_a_precondition_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="can't be read"):
        run(tmp_path / "nothing.raw")


def test_the_listing_of_an_image_is_read_as_what_was_found_on_it(tmp_path: Path) -> None:
    image = medium(Form.IMAGE, unpack("disk_mbr.img", tmp_path))
    with enumerate_medium(image, Rules()) as enumeration:
        found = [entry for entry in enumeration if isinstance(entry, Found)]
    listing = b"".join(listings.encode(each, mount=enumeration.mount(each.part)) for each in found)
    again = read(listing, tmp_path)[1]
    parts = {1: 0, 2: 1, 5: 2}
    expected = [
        (parts[each.part], each.ino, each.type, each.nlink, each.size, each.mtime, b"%d/%b" % (each.part, each.path))
        for each in found
    ]
    assert [(each.part, each.ino, each.type, each.nlink, each.size, each.mtime, each.path) for each in again] == [
        (*head, path.removesuffix(b"/.")) for *head, path in expected
    ]
