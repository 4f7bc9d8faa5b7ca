"""The store: a content is there whole under its digest, durable, readable by all, or not at all."""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tallystick.errors import NoSpaceError, StorageError
from tallystick.storage.disk import HOLE_BYTES, storage_errors
from tallystick.storage.store import TEMPORARY, Blob, Store, Stray, WrongSizeError, blob_path

CONTENT = b"what a medium holds\n" * 1000
BLOBID = blake3(CONTENT).hexdigest()
MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "by-hash")


def temporaries(store: Store) -> list[Path]:
    return list((store.root / TEMPORARY).iterdir())


def put(store: Store, blobid: str, content: bytes) -> Path:
    """Put something in a blob's place behind the store's back."""
    path = store.path(blobid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def test_a_content_lies_under_its_blake3_and_its_sha256_is_told(store: Store) -> None:
    published = store.publish([CONTENT[:7], b"", CONTENT[7:]], size=len(CONTENT))
    assert (published.blobid, published.sha256) == (BLOBID, hashlib.sha256(CONTENT).hexdigest())
    assert (published.size, published.created, published.healed) == (len(CONTENT), True, False)
    assert (store.root / BLOBID[:2] / BLOBID[2:4] / BLOBID).read_bytes() == CONTENT
    assert temporaries(store) == []


def test_the_same_content_again_is_found_and_left_as_it_is(store: Store) -> None:
    store.publish([CONTENT], size=len(CONTENT))
    before = store.path(BLOBID).stat()
    again = Store(store.root).publish([CONTENT], size=len(CONTENT))
    after = store.path(BLOBID).stat()
    assert (again.blobid, again.created, again.healed) == (BLOBID, False, False)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert temporaries(store) == []


def test_an_empty_file_is_a_content_as_any_other(store: Store) -> None:
    published = store.publish([], size=0)
    assert published.blobid == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert store.find(published.blobid) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"", id="emptied"),
        pytest.param(CONTENT[:-1], id="cut short"),
        pytest.param(CONTENT + b"x", id="longer"),
        pytest.param(CONTENT[:50] + bytes([CONTENT[50] ^ 1]) + CONTENT[51:], id="one bit flipped, of the same size"),
    ],
)
def test_what_is_unsound_is_healed_and_said_to_be(store: Store, wrong: bytes) -> None:
    path = put(store, BLOBID, wrong)
    published = store.publish([CONTENT], size=len(CONTENT))
    assert (published.created, published.healed) == (False, True)
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert temporaries(store) == []


def test_a_link_in_the_place_of_a_blob_is_replaced_and_not_followed(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENT)
    path = store.path(BLOBID)
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    assert store.find(BLOBID) is None
    assert store.publish([CONTENT], size=len(CONTENT)).healed
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1], ids=["more than said", "less than said"])
def test_a_content_of_another_size_than_said_is_not_taken_in(store: Store, size: int) -> None:
    with pytest.raises(WrongSizeError) as caught:
        store.publish([CONTENT], size=size)
    assert (caught.value.expected, caught.value.found) == (size, len(CONTENT))
    assert list(store.entries()) == []
    assert temporaries(store) == []


def test_a_content_that_never_ends_is_read_no_further_than_was_said(store: Store) -> None:
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(100)

    with pytest.raises(WrongSizeError):
        store.publish(endless(), size=1000)
    assert asked == 11


def test_an_error_of_the_source_comes_out_as_it_is_and_leaves_nothing(store: Store) -> None:
    def failing() -> Iterator[bytes]:
        yield CONTENT
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error") as caught:
        store.publish(failing(), size=2 * len(CONTENT))
    assert caught.value.errno == errno.EIO
    assert list(store.entries()) == []
    assert temporaries(store) == []


def test_progress_is_told_of_each_block_and_may_end_it(store: Store) -> None:
    told = 0

    def progress() -> None:
        nonlocal told
        told += 1
        if told == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.publish([b"x"] * 5, size=5, progress=progress)
    assert told == 3
    assert list(store.entries()) == []
    assert temporaries(store) == []


def test_57_everybody_may_read_whatever_the_umask(store: Store) -> None:
    before = os.umask(0o077)
    try:
        store.publish([CONTENT], size=len(CONTENT))
    finally:
        os.umask(before)
    path = store.path(BLOBID)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent, store.root)]
    assert modes == [0o444, 0o755, 0o755, 0o755]


def test_a_root_that_its_owner_has_closed_stays_closed(store: Store) -> None:
    store.root.mkdir(mode=0o700)
    store.publish([CONTENT], size=len(CONTENT))
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_holes_stay_holes(store: Store) -> None:
    size = 64 * MIB + 5
    blocks = [bytes(MIB)] * 32 + [b"x" * 10 + bytes(MIB - 10)] + [bytes(MIB)] * 31 + [bytes(5)]
    published = store.publish(blocks, size=size)
    found = store.path(published.blobid).stat()
    assert found.st_size == size
    assert store.verify(published.blobid) == blake3(b"".join(blocks)).hexdigest() == published.blobid
    assert found.st_blocks * 512 <= 4 * HOLE_BYTES


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert store.find(BLOBID) is None
    assert store.verify(BLOBID) is None
    assert list(store.entries()) == []
    assert store.sweep() == 0
    assert not store.root.exists(), "looking makes nothing"
    with pytest.raises(StorageError, match="No such file"):
        list(store.read(BLOBID))


def test_what_is_there_is_read_and_its_digest_told_as_it_is(store: Store) -> None:
    store.publish([CONTENT], size=len(CONTENT))
    assert store.find(BLOBID) == len(CONTENT)
    assert b"".join(store.read(BLOBID)) == CONTENT
    assert store.verify(BLOBID) == BLOBID
    put(store, BLOBID, b"other")
    assert store.verify(BLOBID) == blake3(b"other").hexdigest()


@pytest.mark.parametrize("word", ["", "ab", BLOBID.upper(), BLOBID + "0", "../" + BLOBID[3:], BLOBID[:-1] + "\n"])
def test_no_path_is_made_of_what_is_no_id(store: Store, word: str) -> None:
    with pytest.raises(ValueError, match="no blob id"):
        blob_path(word)
    with pytest.raises(ValueError, match="no blob id"):
        store.find(word)


def test_all_blobs_are_listed_in_order_and_all_that_is_none(store: Store) -> None:
    ids = sorted(store.publish([bytes([number])], size=1).blobid for number in range(50))
    root = store.root
    (root / "README").write_bytes(b"")
    (root / "zz").mkdir()
    (root / ids[0][:2] / "notes").write_bytes(b"")
    put(store, ids[0], b"\0").with_name(ids[0] + ".bak").write_bytes(b"")
    (root / ids[0][:2] / ids[0][2:4] / BLOBID).write_bytes(CONTENT)
    link = store.path("0" * 64)
    link.parent.mkdir(parents=True)
    link.symlink_to("/etc/passwd")
    (root / os.fsdecode(b"\xff\n")).write_bytes(b"")
    entries = list(store.entries())
    assert [entry.blobid for entry in entries if isinstance(entry, Blob)] == ids
    assert {entry.size for entry in entries if isinstance(entry, Blob)} == {1}
    assert {entry.path for entry in entries if isinstance(entry, Stray)} == {
        b"README",
        b"zz",
        os.fsencode(f"{ids[0][:2]}/notes"),
        os.fsencode(f"{blob_path(ids[0])}.bak"),
        os.fsencode(f"{ids[0][:2]}/{ids[0][2:4]}/{BLOBID}"),
        os.fsencode(blob_path("0" * 64)),
        b"\xff\n",
    }


def test_only_temporary_files_that_nobody_owns_are_swept(store: Store) -> None:
    swept: list[int] = []

    def blocks() -> Iterator[bytes]:
        yield CONTENT
        (store.root / TEMPORARY / "abandoned").write_bytes(b"half")
        swept.append(Store(store.root).sweep())

    published = store.publish(blocks(), size=len(CONTENT))
    assert swept == [1]
    assert published.created
    assert temporaries(store) == []


def test_a_temporary_file_that_another_process_holds_is_left_alone(store: Store) -> None:
    store.publish([CONTENT], size=len(CONTENT))
    path = store.root / TEMPORARY / "owned"
    path.write_bytes(b"half")
    owner, released = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        opened = os.open(path, os.O_RDONLY)
        fcntl.flock(opened, fcntl.LOCK_EX)
        os.write(owner[1], b".")
        os.read(released[0], 1)
        os._exit(0)
    os.read(owner[0], 1)
    assert store.sweep() == 0
    os.write(released[1], b".")
    os.waitpid(child, 0)
    assert store.sweep() == 1
    for end in (*owner, *released):
        os.close(end)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_told_apart(number: int, tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError, match="make room"), storage_errors("write", tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_errors_say_what_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("write", tmp_path / os.fsdecode(b"\xff")):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    assert not isinstance(caught.value, NoSpaceError)
    assert str(caught.value) == (
        f"can't write {tmp_path}/\\udcff: Read-only file system; "
        "see to the file system and its permissions, then run the same again"
    )
