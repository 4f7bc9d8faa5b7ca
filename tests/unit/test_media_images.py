"""Images: what is found on each is exactly what was put there."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from producers.media.enumeration import Enumeration, enumerate_medium
from producers.media.errors import MediaError, NoFileSystemError, PreconditionError, UnsupportedError
from producers.media.images import Image
from producers.media.rules import Rules
from tallystick.contracts.media import ExitCode, Form, Found, Medium, set_digest
from tests.media_fixtures import FOLDER, Expected, medium, names, truth, unpack

READABLE = [name for name in names() if truth(name).outcome == "enumerated"]
OTHERS = [name for name in names() if truth(name).outcome != "enumerated"]


def image(name: str, folder: Path) -> Medium:
    path = unpack(name, folder)
    mapped = FOLDER / f"{name}.map"
    return medium(Form.IMAGE, path, map=bytes(mapped) if mapped.exists() else b"", size=path.stat().st_size)


def run(what: Medium) -> tuple[Enumeration, list[Found]]:
    with enumerate_medium(what, Rules()) as enumeration:
        return enumeration, [entry for entry in enumeration if isinstance(entry, Found)]


def as_expected(found: Found, expected: Expected) -> Expected:
    """Return what was found, in the attributes that the truth knows of."""
    known = {
        name: getattr(found, name)
        for name in ("size", "mtime", "nlink", "rdev", "target")
        if getattr(expected, name) is not None
    }
    return Expected(found.part, found.type, found.path, sha256=expected.sha256, marks=found.marks, **known)


@pytest.mark.parametrize("name", READABLE)
def test_every_path_is_found_with_its_attributes(name: str, tmp_path: Path) -> None:
    enumeration, found = run(image(name, tmp_path))
    expected = {(record.part, record.path): record for record in truth(name).records}
    by_path = {(record.part, record.path): record for record in found}
    assert len(by_path) == len(found)
    assert by_path.keys() == expected.keys()
    assert [as_expected(by_path[key], record) for key, record in expected.items()] == list(expected.values())
    assert [(each.part, each.kind) for each in enumeration.file_systems] == truth(name).file_systems


@pytest.mark.parametrize("name", READABLE)
def test_the_counts_are_those_of_the_records_and_problems(name: str, tmp_path: Path) -> None:
    enumeration, found = run(image(name, tmp_path))
    types = Counter(record.type for record in found)
    assert enumeration.problem_kinds == truth(name).problems
    assert enumeration.counts == {
        "records": len(found),
        "inodes": len({(record.part, record.ino) for record in found}),
        "files": types["f"],
        "folders": types["d"],
        "links": types["l"],
        "others": sum(types[letter] for letter in "pscb"),
        "excluded": 0,
        "problems": sum(truth(name).problems.values()),
    }
    assert enumeration.digest == set_digest(found)


@pytest.mark.parametrize("name", [name for name in READABLE if name != "ext2_truncated.img"])
def test_contents_are_read_by_part_and_inode(name: str, tmp_path: Path) -> None:
    """As the copier does; of what is damaged the truth has the content before the damage."""
    path = unpack(name, tmp_path)
    _, found = run(image(name, tmp_path))
    inodes = {(record.part, record.path): record for record in found}
    with Image(bytes(path)) as opened:
        for expected in truth(name).records:
            if expected.sha256 and not expected.marks:
                record = inodes[expected.part, expected.path]
                content = opened.content(record.part, record.ino)
                halves = [content.read(0, 1000), content.read(1000, content.size)]
                assert hashlib.sha256(b"".join(halves)).hexdigest() == expected.sha256, expected.path


@pytest.mark.parametrize("name", OTHERS)
def test_38_what_holds_nothing_that_can_be_read_is_an_error_never_an_empty_medium(name: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as raised:
        run(image(name, tmp_path))
    kinds = {"unsupported_fs": UnsupportedError, "no_filesystem": NoFileSystemError}
    assert type(raised.value) is kinds[truth(name).outcome]
    assert (raised.value.reason, raised.value.exit_code) == (truth(name).outcome, ExitCode.MALFORMED)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("btrfs.img", "btrfs"),
        ("squashfs.img", "squashfs"),
        ("hfs_classic.img", "HFS classic"),
        ("ext2_plain.E01", "EWF (.E01)"),
        ("zero_length.img", "is empty"),
    ],
)
def test_the_error_says_what_the_image_holds(name: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=word.replace("(", r"\(").replace(")", r"\)")):
        run(image(name, tmp_path))


def test_39_an_empty_file_system_has_its_root_and_no_file(tmp_path: Path) -> None:
    enumeration, _ = run(image("ext4_empty.img", tmp_path))
    assert (enumeration.counts["files"], enumeration.counts["folders"]) == (0, 2)


def test_18_partitions_with_the_same_inodes_keep_all_their_files(tmp_path: Path) -> None:
    _, found = run(image("disk_mbr.img", tmp_path))
    first, fifth = ({record.ino for record in found if record.part == part} for part in (1, 5))
    assert first == fifth
    assert len({(record.part, record.ino) for record in found}) == len(found)


def test_sparse_files_tell_how_much_is_allocated(tmp_path: Path) -> None:
    _, found = run(image("ext4_full.img", tmp_path))
    allocated = {record.path: record.allocated for record in found}
    assert (allocated[b"sparse"], allocated[b"hole"], allocated[b"docs/a.bin"]) == (1024, 0, 10 * 1024)


def test_all_records_of_an_inode_agree(tmp_path: Path) -> None:
    _, found = run(image("ext4_full.img", tmp_path))
    one, two, three = (record for record in found if record.path in (b"hl/one", b"hl/two", b"docs/three"))
    assert {(record.ino, record.nlink, record.size, record.mtime) for record in (one, two, three)} == {
        (one.ino, 3, 1000, one.mtime)
    }


def test_an_image_may_have_a_name_that_is_no_utf_8_and_looks_like_a_container(tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/bad\xff.E01"
    os.rename(unpack("ext2_plain.img", tmp_path), path)  # noqa: PTH104 - bytes
    assert run(medium(Form.IMAGE, path))[0].counts["files"] == 15


def test_times_of_fat_and_cds_do_not_depend_on_the_time_zone_of_the_machine(tmp_path: Path) -> None:
    lines = (
        "import sys\n"
        "from producers.media.damage import DamageMap\n"
        "from producers.media.image_walk import ImageWalk\n"
        "for path in sys.argv[1:]:\n"
        "    for entry in ImageWalk(path.encode(), damage=DamageMap(), beat=int):\n"
        "        print(entry.path, getattr(entry, 'mtime', '') if not entry.path.startswith(b'.') else '')\n"
    )
    paths = [
        unpack(name, tmp_path) for name in ("fat12.img", "iso_rr_joliet.iso", "hybrid_iso_hfsplus.iso", "ntfs.img")
    ]
    found = {
        subprocess.run(
            [sys.executable, "-c", lines, *paths], env=os.environ | {"TZ": zone}, check=True, capture_output=True
        ).stdout
        for zone in ("UTC", "America/New_York", "Asia/Kathmandu")
    }
    assert len(found) == 1


@pytest.mark.parametrize("size", [-512, 512])
def test_an_image_with_another_size_than_was_identified_is_refused(size: int, tmp_path: Path) -> None:
    path = unpack("ext2_plain.img", tmp_path)
    identified = medium(Form.IMAGE, path, size=path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    with pytest.raises(PreconditionError) as raised:
        run(identified)
    assert (raised.value.reason, raised.value.exit_code) == ("image_changed", ExitCode.PRECONDITION)


def test_an_image_that_is_not_there_is_a_precondition_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"nothing\.img can't be opened"):
        run(medium(Form.IMAGE, tmp_path / "nothing.img"))


def test_a_part_that_is_not_there_is_a_precondition_that_is_missing(tmp_path: Path) -> None:
    with Image(bytes(unpack("ext2_plain.img", tmp_path))) as opened, pytest.raises(PreconditionError):
        opened.file_system(3)


def test_a_device_is_enumerated_from_its_image(tmp_path: Path) -> None:
    path = unpack("ext2_plain.img", tmp_path)
    device = medium(Form.DEVICE, b"/dev/nothing", image=bytes(path))
    assert run(device)[0].counts["files"] == 15


def test_a_folder_that_is_found_within_itself_is_gone_into_once(tmp_path: Path) -> None:
    path = unpack("ext2_plain.img", tmp_path)
    with path.open("r+b") as file:
        name = file.read().index(b"FILE01.TXT")
        file.seek(name - 8)
        file.write((2).to_bytes(4, "little"))
    enumeration, found = run(medium(Form.IMAGE, path))
    assert [each.type for each in found if each.path == b"DIR1/FILE01.TXT"] == ["d"]
    assert len(found) == len(truth("ext2_plain.img").records)
    assert enumeration.problem_kinds == {"unreachable_inode": 1}


def test_a_superblock_that_claims_billions_of_inodes_is_not_believed(tmp_path: Path) -> None:
    path = unpack("ext2_plain.img", tmp_path)
    with path.open("r+b") as file:
        file.seek(1024)
        file.write((2**32 - 16).to_bytes(4, "little"))
    beats: list[int] = []
    with enumerate_medium(medium(Form.IMAGE, path), Rules(), beat=lambda: beats.append(1)) as enumeration:
        list(enumeration)
    assert len(beats) < 100
