"""Folders: exactly what find lists, and what can't be read besides."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.media import tree_walk
from producers.media.enumeration import Enumeration, enumerate_medium
from producers.media.errors import PreconditionError
from producers.media.rules import Rule, Rules
from producers.media.tree_walk import TreeWalk
from tallystick.contracts import listings
from tallystick.contracts.media import ExitCode, Form, Found, Problem, set_digest
from tests.media_fixtures import medium

FORMAT = r"%y\034%D\034%i\034%n\034%s\034%Ts\034%p\0"
NASTY = (
    b"new\nline",
    b"fs\x1csep",
    b"bs\\n",
    b"\\.",
    b"latin1-\xe8",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b" lead",
    b"-rf",
    b"a" * 255,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with one of everything."""
    root = tmp_path / "root"
    (root / "names").mkdir(parents=True)
    for name in NASTY:
        (root / "names" / os.fsdecode(name)).write_bytes(name)
    (root / "a" / "empty").mkdir(parents=True)
    (root / "a" / "one").write_bytes(b"x" * 5000)
    (root / "two").hardlink_to(root / "a" / "one")
    (root / "dangling").symlink_to(os.fsdecode(b"/nowhere/\xff"))
    (root / "up").symlink_to("..")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "sock"))
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    for at, when in ((-1, "before"), (2**33, "after")):
        (root / when).touch()
        os.utime(root / when, (at, at))
    os.utime(root / "a" / "one", ns=(0, 1_000_000_000_123_456_789))
    return root


def find(root: Path) -> list[bytes]:
    """Return the records that find writes, but for the NUL at the end of each."""
    written = subprocess.run(["find", root, "-xdev", "-printf", FORMAT], check=True, capture_output=True).stdout
    return sorted(written.split(b"\0")[:-1])


def run(root: Path, rules: Rules | None = None) -> tuple[Enumeration, list[Found]]:
    with enumerate_medium(medium(Form.TREE, root), rules or Rules()) as enumeration:
        return enumeration, [entry for entry in enumeration if isinstance(entry, Found)]


def run_with(root: Path, path: bytes, act: Callable[[], object]) -> None:
    """Enumerate a folder, and act where `path` is found."""
    with enumerate_medium(medium(Form.TREE, root), Rules()) as enumeration:
        for entry in enumeration:
            if entry.path == path:
                act()


def listed(root: Path) -> list[bytes]:
    enumeration, found = run(root)
    assert enumeration.counts["problems"] == 0
    return sorted(listings.encode(each, mount=enumeration.mount(each.part))[:-1] for each in found)


def test_the_listing_is_the_one_that_find_writes(tree: Path) -> None:
    assert listed(tree) == find(tree)


def test_what_find_leaves_out_is_there_too(tree: Path) -> None:
    found = {each.path: each for each in run(tree)[1]}
    one = found[b"a/one"]
    assert (one.mtime, one.mtime_ns, one.mode, one.uid) == (1_000_000_000, 123_456_789, 0o644, os.getuid())
    assert (found[b"dangling"].target, found[b"up"].target) == (b"/nowhere/\xff", b"..")
    assert (found[b"sparse"].size, found[b"sparse"].allocated) == (1 << 20, 0)
    assert (found[b"before"].mtime, found[b"after"].mtime) == (-1, 2**33)


def test_counts_and_digest_are_those_of_the_records(tree: Path) -> None:
    enumeration, found = run(tree)
    assert enumeration.counts == {
        "records": len(found),
        "inodes": len(found) - 1,
        "files": len(NASTY) + 5,
        "folders": 4,
        "links": 2,
        "others": 2,
        "excluded": 0,
        "problems": 0,
    }
    assert enumeration.digest == set_digest(found)


def test_a_tree_deeper_than_any_path_may_be_long_and_than_folders_may_be_open(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    depth = 3 * tree_walk.MAX_OPEN
    for _ in range(depth):
        os.mkdir("d" * 30, dir_fd=here)
        below = os.open("d" * 30, os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
        os.close(here)
        here = below
    os.close(here)
    enumeration, found = run(tmp_path)
    assert (enumeration.counts["files"], enumeration.counts["problems"]) == (depth, 0)
    assert max(len(each.path) for each in found) > 4096
    assert listed(tmp_path) == find(tmp_path)


@pytest.mark.skipif(not os.path.ismount("/dev/pts"), reason="optional: nothing is mounted below /dev")
def test_folders_on_other_devices_are_listed_but_not_entered() -> None:
    _, found = run(Path("/dev"))
    command = ["find", "/dev", "-xdev", "-printf", r"%y %P\0"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.split(b"\0")[:-1]
    expected = {tuple(each.split(b" ", 1)) for each in listed}
    assert {(each.type.encode(), each.path if each.path != b"." else b"") for each in found} == expected
    assert all(each.part for each in found if each.path == b"pts")


def test_a_folder_that_can_not_be_read_is_a_problem_and_the_rest_is_there(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read any folder, so that it takes an open that refuses.
    opening = os.open

    def refuse(path: object, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "a":
            raise PermissionError(13, "Permission denied")
        return opening(path, flags, dir_fd=dir_fd)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    entries = list(TreeWalk(bytes(tree)))
    [problem] = [entry for entry in entries if isinstance(entry, Problem)]
    assert (problem.kind, problem.path, problem.detail) == ("dir_error", b"a", "Permission denied")
    paths = {entry.path for entry in entries if isinstance(entry, Found)}
    assert b"a" in paths
    assert b"a/one" not in paths
    assert b"names/new\nline" in paths


def test_a_folder_that_was_moved_away_while_it_was_read_ends_the_enumeration(tmp_path: Path) -> None:
    deep = tmp_path / "root" / "/".join(["d"] * (tree_walk.MAX_OPEN + 5))
    deep.mkdir(parents=True)
    bottom = b"/".join([b"d"] * (tree_walk.MAX_OPEN + 5))
    with pytest.raises(PreconditionError) as raised:
        run_with(tmp_path / "root", bottom, lambda: (tmp_path / "root/d/d").rename(tmp_path / "elsewhere"))
    assert (raised.value.reason, raised.value.exit_code) == ("changed_while_enumerated", ExitCode.PRECONDITION)


def test_52_nothing_but_folders_is_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, opened = os.open, []

    def note(path: object, flags: int, **more: object) -> int:
        descriptor = opening(path, flags, **more)  # type: ignore[arg-type]
        opened.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", note)
    list(TreeWalk(bytes(tree)))
    assert opened
    assert all(opened)


def test_an_inode_that_changed_meanwhile_ends_the_enumeration(tree: Path) -> None:
    def grow_and_move() -> None:
        with (tree / "sparse").open("ab") as file:
            file.write(b"more")
        # It is found again there, as folders are read after what is beside them.
        (tree / "sparse").rename(tree / "a" / "empty" / "sparse")

    with pytest.raises(PreconditionError) as raised:
        run_with(tree, b"sparse", grow_and_move)
    assert raised.value.reason == "changed_while_enumerated"


def test_names_of_one_file_have_the_attributes_that_were_seen_first(tree: Path) -> None:
    found = []
    with enumerate_medium(medium(Form.TREE, tree), Rules()) as enumeration:
        for entry in enumeration:
            if entry.path in (b"two", b"a/one"):
                found.append(entry)
                with (tree / "two").open("ab") as file:
                    file.write(b"more")
    assert [getattr(each, "size", None) for each in found] == [5000, 5000]


@pytest.mark.parametrize("name", ["nothing", "two", "fifo"])
def test_what_is_no_folder_is_a_precondition_that_is_missing(name: str, tree: Path) -> None:
    with pytest.raises(PreconditionError) as raised:
        run(tree / name)
    assert raised.value.reason == "wrong_root"


def test_a_link_to_a_folder_is_that_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert run(tmp_path / "link")[0].digest == run(tree)[0].digest


def test_a_root_may_be_called_anything(tmp_path: Path) -> None:
    root = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\n"))
    root.mkdir()
    (root / "file").touch()
    assert listed(root) == find(root)


def test_only_files_are_excluded_each_by_its_own_path(tree: Path) -> None:
    enumeration, found = run(tree, Rules([Rule("a", b"^/a(/|$)"), Rule("links", b"dangling")]))
    assert {each.path: each.excluded for each in found if each.excluded} == {b"a/one": "pattern:a"}
    assert enumeration.counts["excluded"] == 1


def test_whoever_waits_hears_that_it_goes_on(tree: Path) -> None:
    beats: list[int] = []
    with enumerate_medium(medium(Form.TREE, tree), Rules(), beat=lambda: beats.append(1)) as enumeration:
        list(enumeration)
    assert beats
