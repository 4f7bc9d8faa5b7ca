"""Contents: what was enumerated and nothing else, from below the folder and from nowhere else."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from producers.media.contents import ChangedError, ImageContents, TreeContents, Work
from producers.media.images import Image
from producers.media.opening import open_contents
from tallystick.contracts.media import Form
from tests import media_fixtures

CONTENT = b"what it holds" * 200_000


def work_of(root: Path, path: bytes) -> Work:
    """A file as an enumeration finds it."""
    found = (root / os.fsdecode(path)).lstat()
    seconds, nanoseconds = divmod(found.st_mtime_ns, 10**9)
    return Work(
        part=0,
        ino=found.st_ino,
        paths=(path,),
        size=found.st_size,
        mtime=seconds,
        mtime_ns=nanoseconds,
        dev=found.st_dev,
    )


def read(root: Path, work: Work, path: bytes | None = None) -> bytes:
    return b"".join(TreeContents(bytes(root)).blocks(work, path or work.paths[0]))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_bytes(CONTENT)
    (root / "empty").write_bytes(b"")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(CONTENT)
    return root


NAMES = [
    pytest.param(b"\xff\xfe", id="no UTF-8"),
    pytest.param(b"line\nend\r\x1c", id="line ends"),
    pytest.param(b"\\n", id="a backslash"),
    pytest.param(b"-rf", id="a leading dash"),
    pytest.param(b" ", id="a blank"),
    pytest.param(b"...", id="three dots"),
    pytest.param(b"x" * 255, id="255 bytes"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_read_by_its_bytes_whatever_it_is_called(tree: Path, name: bytes) -> None:
    folder = tree / os.fsdecode(name)
    folder.mkdir()
    (folder / os.fsdecode(name)).write_bytes(name)
    assert read(tree, work_of(tree, name + b"/" + name)) == name


def test_an_empty_file_and_a_deep_one(tree: Path) -> None:
    assert read(tree, work_of(tree, b"empty")) == b""
    assert read(tree, work_of(tree, b"a/b/file")) == CONTENT


def test_the_root_itself_may_be_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert read(tmp_path / "link", work_of(tree, b"a/b/file")) == CONTENT


def test_a_time_before_1970_is_compared_as_any_other(tree: Path) -> None:
    os.utime(tree / "empty", ns=(0, -1_500_000_000))
    work = work_of(tree, b"empty")
    assert (work.mtime, work.mtime_ns) == (-2, 500_000_000)
    assert read(tree, work) == b""


def test_what_the_record_does_not_know_is_not_compared(tree: Path) -> None:
    work = msgspec.structs.replace(work_of(tree, b"a/b/file"), dev=0, mtime_ns=0)
    assert read(tree, work) == CONTENT


SWAPS: dict[str, Callable[[Path, Path], object]] = {
    "the file by a link to one outside": lambda path, outside: path.symlink_to(outside / "file"),
    "the file by a fifo": lambda path, _: os.mkfifo(path),
    "the file by a folder": lambda path, _: path.mkdir(),
    "the file by another file": lambda path, _: path.write_bytes(CONTENT),
}


@pytest.mark.parametrize("what", SWAPS)
def test_what_was_swapped_in_is_not_read(what: str, tree: Path, tmp_path: Path) -> None:
    work = work_of(tree, b"a/b/file")
    path = tree / "a" / "b" / "file"
    path.rename(tmp_path / "kept")
    SWAPS[what](path, tmp_path / "outside")
    with pytest.raises(ChangedError):
        read(tree, work)


def test_a_socket_that_was_swapped_in_is_not_opened(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_of(tree, b"empty")
    (tree / "empty").rename(tmp_path / "kept")
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("empty")
        with pytest.raises(ChangedError, match="no file any more"):
            read(tree, work)


@pytest.mark.parametrize("folder", [b"a", b"a/b"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(folder: bytes, tree: Path, tmp_path: Path) -> None:
    work = work_of(tree, b"a/b/file")
    path = tree / os.fsdecode(folder)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved", target_is_directory=True)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels") as caught:
        read(tree, work)
    assert caught.value.errno in (errno.ENOTDIR, errno.ELOOP)


@pytest.mark.parametrize(
    "path", [b"../outside/file", b"a/../../outside/file", b"/etc/passwd", b"a//b/file", b"./empty"]
)
def test_no_path_leads_out_of_the_folder(path: bytes, tree: Path, tmp_path: Path) -> None:
    work = work_of(tmp_path, b"outside/file")
    with pytest.raises(OSError, match="leads out of the folder") as caught:
        read(tree, work, path)
    assert caught.value.errno == errno.EXDEV


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "it has grown": (lambda path: os.truncate(path, len(CONTENT) + 1), "size"),
    "it has shrunk": (lambda path: os.truncate(path, 1), "size"),
    "it was written to": (
        lambda path: os.utime(path, ns=(1, 2_000_000_003)),
        "mtime 2, not .*; mtime's nanoseconds 3, ",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_is_not_as_it_was_enumerated_is_not_read(what: str, tree: Path) -> None:
    change, told = CHANGES[what]
    work = work_of(tree, b"a/b/file")
    change(tree / "a" / "b" / "file")
    with pytest.raises(ChangedError, match=told):
        next(TreeContents(bytes(tree)).blocks(work, work.paths[0]))


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changes_while_it_is_read_does_not_come_to_its_end(what: str, tree: Path) -> None:
    change, told = CHANGES[what]
    work = work_of(tree, b"a/b/file")
    blocks = TreeContents(bytes(tree)).blocks(work, work.paths[0])
    next(blocks)
    change(tree / "a" / "b" / "file")
    with pytest.raises(ChangedError, match=told):
        list(blocks)


def test_a_file_that_is_gone_is_an_error_of_the_system(tree: Path) -> None:
    work = work_of(tree, b"empty")
    (tree / "empty").unlink()
    with pytest.raises(FileNotFoundError):
        read(tree, work)


def test_no_file_stays_open(tree: Path) -> None:
    work = work_of(tree, b"a/b/file")
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers
    read(tree, work)
    next(TreeContents(bytes(tree)).blocks(work, work.paths[0]))
    with pytest.raises(FileNotFoundError):
        read(tree, work, b"a/b/gone")
    with pytest.raises(FileNotFoundError):
        read(tree, work, b"a/gone/file")
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_a_file_of_an_image_is_read_whole_and_by_its_inode(tmp_path: Path) -> None:
    path = media_fixtures.unpack("ext2_plain.img", tmp_path)
    with Image(bytes(path)) as image:
        contents = ImageContents(image.content)
        root = image.content(0, 12)
        with pytest.raises(ChangedError, match=f"it has {root.size} bytes on the image, not 77"):
            list(contents.blocks(Work(0, 12, (b"any",), 77, 0), b"any"))


class Broken:
    """A content of which only the first bytes can be read, as the library tells of it."""

    size = 3_000_000

    def read(self, offset: int, size: int) -> bytes:
        if offset:
            raise OSError("File_read_random: (tsk3.cpp:731) Read error: Error reading image file")
        return bytes(size)


class Endless(Broken):
    """A content that says that it is longer than it is."""

    def read(self, offset: int, size: int) -> bytes:
        return b"" if offset else bytes(size)


@pytest.mark.parametrize(
    ("content", "told"),
    [(Broken(), "Read error: Error reading image file"), (Endless(), "nothing can be read from byte 1048576 of")],
)
def test_what_an_image_does_not_give_is_an_io_error(content: Broken, told: str) -> None:
    blocks = ImageContents(lambda *_: content).blocks(Work(0, 1, (b"f",), content.size, 0), b"f")
    assert len(next(blocks)) == 1024 * 1024
    with pytest.raises(OSError, match=told) as caught:
        next(blocks)
    assert caught.value.errno == errno.EIO
    assert (caught.value.strerror or "").startswith(told)


def test_a_folder_is_read_where_it_lies(tree: Path) -> None:
    with open_contents(media_fixtures.medium(Form.TREE, tree)) as contents:
        assert b"".join(contents.blocks(work_of(tree, b"a/b/file"), b"a/b/file")) == CONTENT
