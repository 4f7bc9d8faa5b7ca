"""Listings: ntt's `.raw`, byte for byte."""

import pytest

from tallystick.contracts import listings
from tallystick.contracts.listings import Fault, ListingError, Record, Sidecar, Written
from tallystick.contracts.media import Found

ROOT = b"d\x1c2049\x1c2\x1c5\x1c4096\x1c1700000000\x1c/m\0"


def record(path: bytes = b"/m/f", *, kind: bytes = b"f", numbers: bytes = b"2049\x1c11\x1c1\x1c3\x1c1") -> bytes:
    return b"%b\x1c%b\x1c%b\0" % (kind, numbers, path)


def found(path: bytes, **more: object) -> Found:
    fields = {"part": 0, "ino": 11, "type": "f", "nlink": 1, "size": 3, "mtime": -5, "dev": 2049}
    return Found(path=path, **(fields | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "mount", "written"),
    [
        pytest.param(
            found(b"a/b"), b"/mnt", b"f\x1c2049\x1c11\x1c1\x1c3\x1c-5\x1c/mnt/a/b\0", id="seven fields and NUL"
        ),
        pytest.param(found(b"."), b"/mnt", b"f\x1c2049\x1c11\x1c1\x1c3\x1c-5\x1c/mnt\0", id="the root is the mount"),
        pytest.param(found(b"a"), b"/", b"f\x1c2049\x1c11\x1c1\x1c3\x1c-5\x1c/a\0", id="a mount at / adds no slash"),
        pytest.param(found(b"."), b"/", b"f\x1c2049\x1c11\x1c1\x1c3\x1c-5\x1c/\0", id="the root of / is /"),
        pytest.param(
            found(b"n\nl\x1c\xff"), b"/m", b"f\x1c2049\x1c11\x1c1\x1c3\x1c-5\x1c/m/n\nl\x1c\xff\0", id="any byte"
        ),
    ],
)
def test_a_record_is_written_as_find_does(what: Found, mount: bytes, written: bytes) -> None:
    assert listings.encode(what, mount=mount) == written


def test_a_path_with_a_nul_is_not_written() -> None:
    with pytest.raises(ValueError, match="NUL"):
        listings.encode(found(b"a\0b"), mount=b"/m")


def test_a_path_may_hold_the_separator_and_line_ends() -> None:
    [read] = listings.parse([record(b"/m/new\nline\x1cand \xff")])
    assert read == Record("f", 2049, 11, 1, 3, 1, b"/m/new\nline\x1cand \xff", 0)


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1])
def test_times_go_as_far_as_64_bits(number: int) -> None:
    [read] = listings.parse([record(numbers=b"1\x1c2\x1c3\x1c4\x1c%d" % number)])
    assert read.mtime == number


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        pytest.param(b"f\x1c2049\x1c11", Fault.TRUNCATED, id="no NUL at the end"),
        pytest.param(record()[:-1], Fault.TRUNCATED, id="all but the last NUL"),
        pytest.param(b"f\x1c2049\x1c99\0", Fault.SHORT_RECORD, id="three fields"),
        pytest.param(b"\0", Fault.SHORT_RECORD, id="nothing between two NULs"),
        pytest.param(record(numbers=b"2049\x1cabc\x1c1\x1c1\x1c1"), Fault.BAD_NUMBER, id="letters for an inode"),
        pytest.param(record(numbers=b"2049\x1c-1\x1c1\x1c1\x1c1"), Fault.BAD_NUMBER, id="an inode below zero"),
        pytest.param(record(numbers=b"2049\x1c 1\x1c1\x1c1\x1c1"), Fault.BAD_NUMBER, id="a blank before a number"),
        pytest.param(record(numbers=b"2049\x1c1_0\x1c1\x1c1\x1c1"), Fault.BAD_NUMBER, id="an underscore in a number"),
        pytest.param(record(numbers=b"2049\x1c1\x1c1\x1c1\x1c1.5"), Fault.BAD_NUMBER, id="a time with a fraction"),
        pytest.param(record(numbers=b"1\x1c%d\x1c1\x1c1\x1c1" % 2**63), Fault.NUMBER_TOO_LARGE, id="2^63"),
        pytest.param(
            record(numbers=b"1\x1c" + b"9" * 5000 + b"\x1c1\x1c1\x1c1"), Fault.NUMBER_TOO_LARGE, id="5,000 digits"
        ),
        pytest.param(record(numbers=b"1\x1c1\x1c1\x1c1\x1c%d" % (-(2**63) - 1)), Fault.NUMBER_TOO_LARGE, id="-2^63-1"),
        pytest.param(record(kind=b"Z"), Fault.UNKNOWN_TYPE, id="a type that find does not have"),
        pytest.param(record(kind=b"fd"), Fault.UNKNOWN_TYPE, id="two letters"),
        pytest.param(record(kind=b""), Fault.UNKNOWN_TYPE, id="no letter"),
        pytest.param(record(b"m/f"), Fault.RELATIVE_PATH, id="a path without a slash"),
    ],
)
def test_15_what_is_wrong_is_named_with_its_place(bad: bytes, fault: Fault) -> None:
    with pytest.raises(ListingError) as raised:
        list(listings.parse([ROOT + record() + bad]))
    assert (raised.value.fault, raised.value.offset) == (fault, len(ROOT + record()))


def test_a_file_that_is_no_listing_does_not_fill_the_memory() -> None:
    with pytest.raises(ListingError) as raised:
        list(listings.parse(b"x" * (1 << 18) for _ in range(1000)))
    assert raised.value.fault is Fault.LONG_RECORD


@pytest.mark.parametrize("name", ["records", "bytes", "blake3"])
def test_a_listing_that_is_not_its_sidecars_is_refused(name: str) -> None:
    sidecar = Sidecar(medium="0" * 32, attempt=1, records=2, bytes=70, blake3="ab", digest="", counts={})
    listings.compare(sidecar, Written(2, 70, "ab"))
    written = {"records": 2, "bytes": 70, "blake3": "ab"} | {name: "cd" if name == "blake3" else 1}
    with pytest.raises(ListingError, match=name):
        listings.compare(sidecar, Written(**written))  # type: ignore[arg-type]


def test_a_sidecar_comes_back_as_it_was_written() -> None:
    sidecar = Sidecar(
        medium="0" * 32,
        attempt=2,
        records=1,
        bytes=2,
        blake3="ab",
        digest="cd",
        counts={"records": 1},
        file_systems=(listings.FileSystem(0, "ext4", 0, 100),),
        tools={"libtsk": "4.15.0"},
    )
    assert listings.decode_sidecar(listings.encode_sidecar(sidecar)) == sidecar
