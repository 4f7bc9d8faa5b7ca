"""What a target is, and which medium."""

import os
from pathlib import Path

import pytest
from blake3 import blake3

from producers.media.identifying import digest_of, look_at
from tallystick.contracts.media import ENDS_BYTES, Form, medium_id
from tallystick.errors import UsageError

MIB = 1024 * 1024


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_the_id_is_the_second_hash_of_ntt_over_size_model_serial_and_both_ends() -> None:
    first, last = b"a" * MIB, b"z" * MIB
    expected = blake3(b"SIZE:5|MODEL:m|SERIAL:s|" + first + last).hexdigest()[:32]
    assert medium_id(size=5, first=first, last=last, model="m", serial="s") == expected


def test_ends_that_could_not_be_read_whole_are_filled_with_zeros() -> None:
    padded = medium_id(size=3, first=b"abc".ljust(MIB, b"\0"), last=b"abc".ljust(MIB, b"\0"))
    assert medium_id(size=3, first=b"abc", last=b"abc") == padded
    assert ENDS_BYTES == MIB


def test_the_same_bytes_are_the_same_medium_wherever_they_lie(tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    assert look_at(write(tmp_path / "a.img", content)).medium == look_at(write(tmp_path / "b.iso", content)).medium


def test_media_that_differ_only_in_the_middle_have_one_id_and_two_digests(tmp_path: Path) -> None:
    one, two = bytearray(os.urandom(4 * MIB)), b""
    two = bytes(one[: 2 * MIB]) + b"x" + bytes(one[2 * MIB + 1 :])
    paths = write(tmp_path / "1.img", bytes(one)), write(tmp_path / "2.img", two)
    assert len({look_at(path).medium for path in paths}) == 1
    assert len({digest_of(os.fsencode(path), on_block=lambda _: None) for path in paths}) == 2


def test_a_file_that_is_called_by_an_id_keeps_it(tmp_path: Path) -> None:
    assert look_at(write(tmp_path / f"{'0af9' * 8}.img", b"x")).medium == "0af9" * 8


@pytest.mark.parametrize("name", ["0AF9" * 8 + ".img", "0af9" * 7 + ".img", "0af9" * 9 + ".img"])
def test_other_names_say_nothing(tmp_path: Path, name: str) -> None:
    assert look_at(write(tmp_path / name, b"x")).medium == look_at(write(tmp_path / "x.img", b"x")).medium


def test_an_image_comes_with_the_map_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "disk.img", b"x")
    assert look_at(path).map == b""
    write(tmp_path / "disk.map", b"")
    assert look_at(path).map == os.fsencode(tmp_path / "disk.map")
    write(tmp_path / "disk.img.map", b"")
    assert look_at(path).map == os.fsencode(tmp_path / "disk.img.map")


def test_a_listing_is_told_by_its_first_record_not_by_its_name(tmp_path: Path) -> None:
    listing = b"d\x1c1\x1c2\x1c2\x1c4096\x1c0\x1c/mnt\0"
    assert look_at(write(tmp_path / "x.raw", listing)).form is Form.LISTING
    assert look_at(write(tmp_path / "y.raw", b"not a listing")).form is Form.IMAGE


def test_a_folder_is_where_it_is_whatever_the_way_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    found = look_at(str(tmp_path / "link"))
    assert (found.form, found.root, found.medium) == (Form.TREE, os.fsencode(folder), look_at(str(folder)).medium)


def test_a_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/bad-\xff.img"
    with open(path, "wb") as file:  # noqa: PTH123 - bytes
        file.write(b"x")
    assert look_at(os.fsdecode(path)).root == path


@pytest.mark.parametrize("name", ["missing.img", "fifo"])
def test_what_is_no_medium_is_told_by_its_path(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match=name):
        look_at(str(tmp_path / name))
