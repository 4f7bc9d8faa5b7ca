"""Copying: every file has one outcome, in order; what is wrong with all of them is said once."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from producers.media.contents import ChangedError, Contents, ImageContents, TreeContents, Work
from producers.media.copying import PROBED, TooManyFailedError, WrongRootError, copy_all, copy_file
from producers.media.enumeration import enumerate_medium
from producers.media.images import Image
from producers.media.rules import Rules
from tallystick.contracts.media import Copied, CopyError, CopyStatus, ExitCode, Form, Found
from tallystick.errors import NoSpaceError, StorageError
from tallystick.storage.store import TEMPORARY, Blob, Store
from tests import media_fixtures

RUN = 7


class Memory:
    """Contents in memory, some of which fail: a stand-in for disks whose errors can't be had at will."""

    def __init__(self, contents: dict[bytes, bytes | Exception | list[bytes | Exception]]) -> None:
        self._contents = contents
        self.asked: list[bytes] = []

    def blocks(self, work: Work, path: bytes) -> Iterator[bytes]:  # noqa: ARG002
        self.asked.append(path)
        found = self._contents[path]
        content = found.pop(0) if isinstance(found, list) else found
        if isinstance(content, Exception):
            yield b""
            raise content
        yield content


def copying_threads() -> list[str]:
    """Return the names of the threads that copy; other tests of this process may have left others."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("copy")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "by-hash")


def work(ino: int, *paths: bytes, size: int = 5) -> Work:
    return Work(part=0, ino=ino, paths=paths or (b"%d" % ino,), size=size, mtime=0)


def copy(contents: Contents, store: Store, item: Work, *, tries: int = 5) -> Copied:
    return copy_file(item, contents, store, run=RUN, tries=tries)


def everything(
    contents: Contents,
    store: Store,
    items: list[Work],
    *,
    workers: int = 2,
    share: float = 1.0,
    total: int | None = None,
) -> Iterator[Copied]:
    return copy_all(
        items,
        contents,
        store,
        run=RUN,
        tries=1,
        workers=workers,
        total=len(items),
        max_failed_share=share,
    )


def gone() -> OSError:
    return OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def test_a_copied_file_says_what_it_holds_and_who_copied_it(store: Store) -> None:
    copied = copy(Memory({b"a": b"hello"}), store, work(9, b"a"))
    assert (copied.part, copied.ino, copied.run, copied.path) == (0, 9, RUN, b"a")
    assert (copied.status, copied.error, copied.detail, copied.tries) == (CopyStatus.SUCCESS, None, "", 1)
    assert (copied.blobid, copied.size, copied.created) == (blake3(b"hello").hexdigest(), 5, True)
    assert copied.sha256.startswith("2cf24dba5fb0a30e26e83b2ac5b9e29e")
    assert not copy(Memory({b"a": b"hello"}), store, work(9, b"a")).created


def test_a_healed_blob_is_told_of(store: Store) -> None:
    path = store.path(copy(Memory({b"a": b"hello"}), store, work(9, b"a")).blobid)
    path.unlink()
    path.write_bytes(b"jello")
    copied = copy(Memory({b"a": b"hello"}), store, work(9, b"a"))
    assert (copied.status, copied.created) == (CopyStatus.SUCCESS, False)
    assert copied.detail == "the store had something else in its place, which was replaced"
    assert path.read_bytes() == b"hello"


PERMANENT, RETRYABLE = CopyStatus.PERMANENT, CopyStatus.RETRYABLE
FAILURES = [
    pytest.param(OSError(errno.ENOENT, "x"), CopyError.PATH, PERMANENT, 1, id="a file that is gone"),
    pytest.param(OSError(errno.ENOTDIR, "x"), CopyError.PATH, PERMANENT, 1, id="a folder that is none any more"),
    pytest.param(OSError(errno.ELOOP, "x"), CopyError.PATH, PERMANENT, 1, id="a link that was swapped in"),
    pytest.param(OSError(errno.EXDEV, "x"), CopyError.PATH, PERMANENT, 1, id="a path that leads out of the folder"),
    pytest.param(OSError(errno.EACCES, "x"), CopyError.PERMISSION, PERMANENT, 1, id="a file that may not be read"),
    pytest.param(OSError(errno.EPERM, "x"), CopyError.PERMISSION, PERMANENT, 1, id="a file that is not permitted"),
    pytest.param(OSError(errno.EIO, "x"), CopyError.IO, PERMANENT, 5, id="a file that can't be read"),
    pytest.param(OSError(errno.ESTALE, "x"), CopyError.UNKNOWN, RETRYABLE, 5, id="an error that nobody expected"),
    pytest.param(OSError("x"), CopyError.UNKNOWN, RETRYABLE, 5, id="an error without a number"),
    pytest.param(ChangedError("x"), CopyError.CHANGED, RETRYABLE, 5, id="a file that has changed"),
]


@pytest.mark.parametrize(("failure", "error", "status", "tries"), FAILURES)
def test_each_failure_has_its_class_and_is_tried_so_often(
    failure: Exception, error: CopyError, status: CopyStatus, tries: int, store: Store
) -> None:
    contents = Memory({b"a": failure})
    copied = copy(contents, store, work(1, b"a"))
    assert (copied.error, copied.status, copied.tries, copied.detail) == (error, status, tries, "x")
    assert (copied.blobid, copied.sha256, copied.size, copied.created) == ("", "", 0, False)
    assert len(contents.asked) == tries
    assert list(store.entries()) == []
    assert list((store.root / TEMPORARY).iterdir()) == []


@pytest.mark.parametrize("content", [b"hell", b"hello, world"], ids=["less", "more"])
def test_a_content_of_another_size_than_enumerated_has_changed(content: bytes, store: Store) -> None:
    copied = copy(Memory({b"a": content}), store, work(1, b"a"))
    assert (copied.error, copied.status) == (CopyError.CHANGED, RETRYABLE)
    assert copied.detail.startswith(f"read {len(content)} bytes where 5 were expected")


def test_a_failure_that_passes_is_a_success_with_its_tries(store: Store) -> None:
    copied = copy(Memory({b"a": [OSError(errno.EIO, "x"), OSError(errno.EIO, "x"), b"hello"]}), store, work(1, b"a"))
    assert (copied.status, copied.tries) == (CopyStatus.SUCCESS, 3)


def test_56_no_file_is_tried_more_often_than_asked(store: Store) -> None:
    contents = Memory({b"%d" % number: gone() for number in range(9)})
    copied = copy(contents, store, work(1, *(b"%d" % number for number in range(9))), tries=3)
    assert (copied.tries, contents.asked) == (3, [b"0", b"1", b"2"])


@pytest.mark.parametrize("first", [gone(), OSError(errno.EACCES, "x"), ChangedError("x")])
def test_a_file_with_several_names_is_read_by_any_of_them(first: Exception, store: Store) -> None:
    contents = Memory({b"a": first, b"b": b"hello"})
    copied = copy(contents, store, work(1, b"a", b"b"))
    assert (copied.status, copied.path, copied.tries) == (CopyStatus.SUCCESS, b"b", 2)


def test_what_is_wrong_with_the_store_is_not_the_files_fault(store: Store) -> None:
    store.root.write_bytes(b"a file where the store should be")
    with pytest.raises(StorageError):
        copy(Memory({b"a": b"hello"}), store, work(1, b"a"))


@pytest.mark.parametrize("workers", [1, 4])
def test_outcomes_come_in_the_order_of_work(workers: int, store: Store) -> None:
    contents = Memory({b"%d" % ino: b"%05d" % ino if ino % 7 else gone() for ino in range(1, 900)})
    copies = list(everything(contents, store, [work(ino) for ino in range(1, 900)], workers=workers))
    assert [copied.ino for copied in copies] == list(range(1, 900))
    assert [copied.ino for copied in copies if copied.error] == list(range(7, 900, 7))
    assert sum(isinstance(entry, Blob) for entry in store.entries()) == 899 - 128


def test_no_more_is_under_way_than_a_bounded_number(store: Store) -> None:
    taken = 0

    def endless() -> Iterator[Work]:
        nonlocal taken
        while True:
            taken += 1
            yield work(taken, b"a")

    copies = copy_all(
        endless(),
        Memory({b"a": b"hello"}),
        store,
        run=RUN,
        tries=1,
        workers=2,
        total=10**6,
        max_failed_share=1,
    )
    for _ in range(100):
        next(copies)
    assert taken <= 100 + 2 * 64
    copies.close()  # type: ignore[attr-defined]
    assert not copying_threads()


@pytest.mark.parametrize("number", [1, PROBED - 1, PROBED, 1161])
def test_42_where_none_of_the_first_files_is_there_the_root_is_wrong(number: int, store: Store) -> None:
    items = [work(ino, b"a") for ino in range(number)]
    copies = everything(Memory({b"a": gone()}), store, items)
    with pytest.raises(WrongRootError, match=f"none of the first {min(number, PROBED)} files") as caught:
        next(copies)
    assert caught.value.exit_code == ExitCode.PRECONDITION


def test_where_one_of_the_first_files_is_there_each_that_is_gone_is_a_loss(store: Store) -> None:
    items = [work(ino, b"there" if ino == PROBED - 1 else b"gone") for ino in range(100)]
    copies = list(everything(Memory({b"gone": gone(), b"there": b"hello"}), store, items))
    assert sum(copied.error is CopyError.PATH for copied in copies) == 99


def test_too_many_failures_end_the_whole_and_those_before_are_told(store: Store) -> None:
    items = [work(ino, b"bad" if ino % 2 else b"good") for ino in range(100)]
    contents = Memory({b"bad": OSError(errno.EIO, "Input/output error"), b"good": b"hello"})
    copies: list[Copied] = []
    with pytest.raises(TooManyFailedError, match=r"11 of 100 files .* io_error Input/output error"):
        copies.extend(everything(contents, store, items, share=0.1))
    assert [copied.ino for copied in copies] == list(range(22)), "what was found out is told"
    assert len(list(everything(contents, store, items, share=0.5))) == 100, "half may fail, and half have failed"


def test_33_a_full_store_ends_the_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that is full from the third file on (a real one: tests/faults/test_media_storage_killed.py)."""
    real, written = os.pwrite, 0

    def full(opened: int, data: bytes, at: int) -> int:
        nonlocal written
        written += 1
        if written > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(opened, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    items = [work(ino) for ino in range(50)]
    contents = Memory({b"%d" % ino: b"%05d" % ino for ino in range(50)})
    with pytest.raises(NoSpaceError, match="make room"):
        list(everything(contents, store, items))
    assert list((store.root / TEMPORARY).iterdir()) == []
    assert not copying_threads()


def test_it_ends_early_where_it_is_told_to_stop(store: Store) -> None:
    stopped = False
    copies = copy_all(
        [work(ino, b"a") for ino in range(1000)],
        Memory({b"a": b"hello"}),
        store,
        run=RUN,
        tries=1,
        workers=2,
        total=1000,
        max_failed_share=1,
        stop=lambda: stopped,
    )
    assert [next(copies).ino for _ in range(30)] == list(range(30))
    stopped = True
    assert list(copies) == []


def test_a_large_file_is_told_of_while_it_is_read_and_left_at_once_where_nobody_wants_it(store: Store) -> None:
    class Endless:
        def blocks(self, work: Work, path: bytes) -> Iterator[bytes]:  # noqa: ARG002
            while True:
                yield bytes(1024 * 1024)

    told = 0

    def progress() -> None:
        nonlocal told
        told += 1
        if told == 2:
            raise KeyboardInterrupt

    copies = copy_all(
        [work(1, b"a", size=1 << 50)],
        Endless(),
        store,
        run=RUN,
        tries=1,
        workers=2,
        total=1,
        max_failed_share=1,
        progress=progress,
    )
    with pytest.raises(KeyboardInterrupt):
        list(copies)
    assert list((store.root / TEMPORARY).iterdir()) == []
    assert not copying_threads()


def test_nothing_to_copy_is_no_error(store: Store) -> None:
    assert list(everything(Memory({}), store, [])) == []


def _enumerated(name: str, folder: Path) -> tuple[Path, list[Work], dict[tuple[int, bytes], tuple[int, int]]]:
    """An image, its files as work, and the inode of each path."""
    path = media_fixtures.unpack(name, folder)
    medium = media_fixtures.medium(Form.IMAGE, path, image=bytes(path), size=path.stat().st_size)
    inodes: dict[tuple[int, int], list[Found]] = {}
    with enumerate_medium(medium, Rules(), beat=lambda: None) as enumeration:
        for entry in enumeration:
            if isinstance(entry, Found) and entry.type == "f":
                inodes.setdefault((entry.part, entry.ino), []).append(entry)
    items = [
        Work(part, ino, tuple(found.path for found in all_of_it), all_of_it[0].size, all_of_it[0].mtime)
        for (part, ino), all_of_it in inodes.items()
    ]
    return path, items, {(item.part, path): (item.part, item.ino) for item in items for path in item.paths}


WHOLE = [
    name
    for name in media_fixtures.names()
    if media_fixtures.truth(name).outcome == "enumerated" and name not in ("ext2_truncated.img", "ext4_badblocks.img")
]


@pytest.mark.parametrize("name", WHOLE)
def test_all_of_an_image_is_in_the_store_as_it_was_put_on_it(name: str, tmp_path: Path, store: Store) -> None:
    path, items, inodes = _enumerated(name, tmp_path)
    with Image(bytes(path)) as image:
        copies = {
            (copied.part, copied.ino): copied
            for copied in everything(ImageContents(image.content), store, items, workers=4)
        }
    assert len(copies) == len(items)
    truth = {(one.part, one.path): one.sha256 for one in media_fixtures.truth(name).records if one.sha256}
    assert {place: copies[inodes[place]].sha256 for place in truth} == truth
    blobs = {entry.blobid for entry in store.entries() if isinstance(entry, Blob)}
    assert blobs == {copied.blobid for copied in copies.values()}


def test_of_an_image_that_was_cut_off_what_is_missing_fails_and_the_rest_is_copied(
    tmp_path: Path, store: Store
) -> None:
    path, items, _ = _enumerated("ext2_truncated.img", tmp_path)
    with Image(bytes(path)) as image:
        copies = list(everything(ImageContents(image.content), store, items))
    failed = [copied for copied in copies if copied.status is not CopyStatus.SUCCESS]
    assert len(failed) == media_fixtures.truth("ext2_truncated.img").problems["damaged"]
    assert {(copied.status, copied.error) for copied in failed} == {(PERMANENT, CopyError.IO)}


def test_a_folder_with_hard_links_and_holes_is_in_the_store(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "one").write_bytes(b"twice")
    (root / "two").hardlink_to(root / "one")
    with (root / "sparse").open("wb") as file:
        file.truncate(50_000_000)
        file.write(b"x")
    items = []
    for names in (("one", "two"), ("sparse",)):
        found = (root / names[0]).stat()
        seconds, nanoseconds = divmod(found.st_mtime_ns, 10**9)
        paths = tuple(os.fsencode(name) for name in names)
        items.append(Work(0, found.st_ino, paths, found.st_size, seconds, nanoseconds, found.st_dev))
    linked, sparse = everything(TreeContents(bytes(root)), store, items)
    assert (linked.path, linked.blobid) == (b"one", blake3(b"twice").hexdigest())
    assert sparse.size == 50_000_000
    assert store.path(sparse.blobid).stat().st_blocks * 512 < 1_000_000
