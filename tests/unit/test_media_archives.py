"""Archives: exactly the listed files, decoded before they have their name, never overwritten, never trusted."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from tallystick.errors import DamagedArchiveError, StorageError
from tallystick.storage.archives import PARTIAL, Archive, Member, Wanted, decode, write_archive

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENTS = {b"b.img": b"image" * 300_000, b"a.map": b"# map\n", b"c.log": b""}


@pytest.fixture
def wanted(tmp_path: Path) -> list[Wanted]:
    return [_file(tmp_path, name, content) for name, content in CONTENTS.items()]


def _file(folder: Path, name: bytes, content: bytes, *, digest: str = "") -> Wanted:
    path = folder / os.fsdecode(name)
    path.write_bytes(content)
    return Wanted(name, path, digest)


def member(name: bytes, content: bytes) -> Member:
    return Member(name, len(content), blake3(content).hexdigest())


def test_32_an_archive_holds_the_listed_files_sorted_and_nothing_that_lies_beside_them(
    tmp_path: Path, wanted: list[Wanted]
) -> None:
    (tmp_path / "b.img.bak").write_bytes(b"another's")
    final = tmp_path / "deep" / "er" / "x.tar.zst"
    archive = write_archive(final, wanted)
    assert archive.members == tuple(member(name, CONTENTS[name]) for name in sorted(CONTENTS))
    assert (archive.size, archive.digest) == (final.stat().st_size, blake3(final.read_bytes()).hexdigest())
    assert decode(final) == archive
    assert [path.name for path in final.parent.iterdir()] == ["x.tar.zst"]
    assert final.stat().st_mode & 0o777 == 0o644


def test_other_programs_can_read_it(tmp_path: Path, wanted: list[Wanted]) -> None:
    final = tmp_path / "x.tar.zst"
    write_archive(final, wanted)
    plain = tmp_path / "x.tar"
    plain.write_bytes(zstd.decompress(final.read_bytes()))
    done = subprocess.run(["tar", "-tf", plain], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a.map", "b.img", "c.log"]
    with tarfile.open(plain) as tar:
        owners = {(info.uid, info.gid, info.uname, info.gname) for info in tar}
    assert owners == {(0, 0, "", "")}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"\xff\xfe latin", id="no UTF-8"),
        pytest.param(b"line\nend \\ tab\t", id="control characters"),
        pytest.param("ü".encode() * 127, id="255 bytes"),
        pytest.param(b" leading and trailing ", id="blanks at the ends"),
    ],
)
def test_names_are_bytes(tmp_path: Path, name: bytes) -> None:
    final = tmp_path / "x.tar.zst"
    assert write_archive(final, [_file(tmp_path, name, b"1")]).members == (member(name, b"1"),)


def test_a_frame_carries_a_checksum_and_a_window_that_any_decoder_takes(tmp_path: Path, wanted: list[Wanted]) -> None:
    final = tmp_path / "x.tar.zst"
    write_archive(final, wanted)
    descriptor = final.read_bytes()[4]
    assert descriptor & 0b100, "the checksum flag of the frame's header"
    zstd.decompress(final.read_bytes(), options={zstd.DecompressionParameter.window_log_max: 27})


def test_30_an_archive_that_is_there_and_equal_is_left_as_it_is(tmp_path: Path, wanted: list[Wanted]) -> None:
    final = tmp_path / "x.tar.zst"
    archive = write_archive(final, wanted)
    before = final.stat()
    assert write_archive(final, reversed_order(wanted)) == archive
    assert (final.stat().st_ino, final.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not final.with_name(f"x.tar.zst{PARTIAL}").exists()


def reversed_order(wanted: list[Wanted]) -> list[Wanted]:
    return sorted(wanted, key=lambda one: one.name, reverse=True)


def test_an_archive_of_something_else_is_never_overwritten(tmp_path: Path, wanted: list[Wanted]) -> None:
    final = tmp_path / "x.tar.zst"
    write_archive(final, wanted)
    before = final.read_bytes()
    wanted[0].path.write_bytes(b"changed")
    with pytest.raises(DamagedArchiveError, match=r"does not hold what is to be archived: see b\.img"):
        write_archive(final, wanted)
    assert final.read_bytes() == before


def _flipped(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda content: zstd.compress(change(zstd.decompress(content)))


DAMAGES = [
    pytest.param(_flipped, id="one bit is flipped"),
    pytest.param(lambda content: content[: len(content) // 2], id="its second half is missing"),
    pytest.param(lambda content: content[:-1], id="its last byte is missing, which is the checksum's"),
    pytest.param(lambda _: b"", id="it is empty"),
    pytest.param(lambda content: content + b"more", id="something follows it"),
    pytest.param(lambda content: content + zstd.compress(b"more"), id="another frame follows it"),
    pytest.param(lambda _: b"no zstd at all", id="it is something else"),
    pytest.param(_rewritten(lambda tar: tar[:1024]), id="its tar ends in a member"),
    pytest.param(_rewritten(lambda tar: tar.rstrip(b"\0")[:-512]), id="its tar has no end"),
    pytest.param(_rewritten(lambda tar: tar + tar), id="its tar goes on after its end"),
    pytest.param(_rewritten(lambda _: b"no tar" * 1000), id="there is no tar in it"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_31_damage_is_found_wherever_it_is_and_never_overwritten(
    tmp_path: Path, wanted: list[Wanted], damage: Callable[[bytes], bytes]
) -> None:
    final = tmp_path / "x.tar.zst"
    write_archive(final, wanted)
    damaged = damage(final.read_bytes())
    final.write_bytes(damaged)
    with pytest.raises(DamagedArchiveError, match=r"x\.tar\.zst is damaged: "):
        decode(final)
    with pytest.raises(DamagedArchiveError):
        write_archive(final, wanted)
    assert final.read_bytes() == damaged


def test_31_what_is_written_is_compared_with_what_was_read(
    tmp_path: Path, wanted: list[Wanted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has kept something else, sound in itself, when it says that all is durable."""
    other = tmp_path / "other.tar.zst"
    write_archive(other, [_file(tmp_path, b"d", b"d"), *wanted[:2]])
    final = tmp_path / "x.tar.zst"
    partial = final.with_name(f"x.tar.zst{PARTIAL}")
    monkeypatch.setattr(os, "fsync", lambda _: partial.write_bytes(other.read_bytes()))
    with pytest.raises(DamagedArchiveError, match=r"does not hold what is to be archived: see c\.log, d"):
        write_archive(final, wanted)
    assert not final.exists()
    assert not partial.exists()


def test_a_link_in_an_archive_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.zst"
    with zstd.open(path, "wb") as plain, tarfile.open(fileobj=plain, mode="w|") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DamagedArchiveError, match="its member link is no file"):
        decode(path)


def test_an_image_that_is_not_the_one_that_was_identified_is_not_archived(tmp_path: Path) -> None:
    final = tmp_path / "x.tar.zst"
    digest = blake3(b"identified").hexdigest()
    with pytest.raises(StorageError, match=f"not {digest} as when it was identified"):
        write_archive(final, [_file(tmp_path, b"a", b"another", digest=digest)])
    assert not final.exists()
    assert write_archive(final, [_file(tmp_path, b"a", b"identified", digest=digest)]).members[0].digest == digest


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: os.truncate(path, 6_000_000), id="grows"),
        pytest.param(lambda path: os.truncate(path, 100), id="shrinks"),
        pytest.param(lambda path: os.utime(path, (1, 1)), id="is written to"),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_not_archived(
    tmp_path: Path, wanted: list[Wanted], change: Callable[[Path], object]
) -> None:
    final, image = tmp_path / "x.tar.zst", wanted[0].path
    image.write_bytes(os.urandom(5_000_000))
    changed = False

    def progress() -> None:
        nonlocal changed
        if not changed and final.with_name(f"x.tar.zst{PARTIAL}").exists():
            change(image)
            changed = True

    with pytest.raises(StorageError, match="while it was read"):
        write_archive(final, [Wanted(b"image", image)], progress=progress)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x.")] == []


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't read .*/gone: No such file or directory"):
        write_archive(tmp_path / "x.tar.zst", [Wanted(b"gone", tmp_path / "gone")])
    with pytest.raises(StorageError, match=r"can't read .*/gone: No such file or directory"):
        decode(tmp_path / "gone")


def test_two_files_cannot_have_one_name(tmp_path: Path, wanted: list[Wanted]) -> None:
    with pytest.raises(StorageError, match=r"two files would be a\.map"):
        write_archive(tmp_path / "x.tar.zst", [*wanted, wanted[1]])


def test_progress_may_end_it_at_any_time(tmp_path: Path, wanted: list[Wanted]) -> None:
    final = tmp_path / "x.tar.zst"
    total = 0

    def count() -> None:
        nonlocal total
        total += 1

    archive = write_archive(final, wanted, progress=count)
    final.unlink()
    for last in range(1, total + 1):
        left = last

        def ending() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_archive(final, wanted, progress=ending)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x.")] == []
    assert isinstance(archive, Archive)
