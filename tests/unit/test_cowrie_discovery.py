"""Which files a path, a folder or a pattern stands for."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.cowrie.discovery import LogFile, Problem, as_text, discover, why_unreadable


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of logs, and of things that are none; the working directory is above it."""
    for name in (
        "logs/cowrie.json",
        "logs/cowrie.json.2026-11-22",
        "logs/cowrie.json.2026-11-21.gz",
        "logs/cowrie.log",
        "logs/.cowrie.json.swp",
        "logs/b/x.json.zst",
        "logs/a/y.json.bz2",
        "logs/.git/z.json",
        "empty/readme.txt",
        "odd/a[1].json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything, so be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


FOUND = [
    pytest.param(["logs/cowrie.log"], ["logs/cowrie.log"], id="a file is taken whatever its name"),
    pytest.param(
        ["logs"],
        [
            "logs/cowrie.json",
            "logs/cowrie.json.2026-11-21.gz",
            "logs/cowrie.json.2026-11-22",
            "logs/a/y.json.bz2",
            "logs/b/x.json.zst",
        ],
        id="a folder stands for the logs in it and below it, rotated and compressed, but not hidden",
    ),
    pytest.param(["logs/*.2026*"], ["logs/cowrie.json.2026-11-21.gz", "logs/cowrie.json.2026-11-22"], id="a pattern"),
    pytest.param(["**/*.zst"], ["logs/b/x.json.zst"], id="a pattern of any depth"),
    pytest.param(["logs/[ab]"], ["logs/a/y.json.bz2", "logs/b/x.json.zst"], id="a pattern that matches folders"),
    pytest.param(["odd/a[1].json"], ["odd/a[1].json"], id="a file whose name looks like a pattern"),
    pytest.param(["logs/a", "logs/a"], ["logs/a/y.json.bz2"] * 2, id="what is asked for twice is found twice"),
]


@pytest.mark.parametrize(("paths", "expected"), FOUND)
@pytest.mark.usefixtures("tree")
def test_paths_stand_for_files(paths: list[str], expected: list[str]) -> None:
    assert list(discover(paths)) == [LogFile(path) for path in expected]


PROBLEMS = [
    pytest.param("nowhere.json", "no such file", id="no such file"),
    pytest.param("logs/cowrie.json/below", "no such file", id="a file is no folder"),
    pytest.param("empty", "the folder holds no log", id="a folder without logs"),
    pytest.param("logs/*.nothing", "the pattern matches no file", id="a pattern without a match"),
    pytest.param("/dev/null", "neither a file nor a folder", id="a device"),
    pytest.param("a\0b", "not a path", id="what can't be a path"),
]


@pytest.mark.parametrize(("path", "reason"), PROBLEMS)
@pytest.mark.usefixtures("tree")
def test_what_cant_be_read_is_a_problem_beside_the_files_that_can(path: str, reason: str) -> None:
    problem, found = discover([path, "logs/cowrie.json"])
    assert isinstance(problem, Problem)
    assert problem.path == path
    assert reason in problem.reason
    assert found == LogFile("logs/cowrie.json")


def test_a_folder_that_may_not_be_read_is_a_problem(tree: Path, unprivileged: None) -> None:
    del unprivileged
    [found] = discover([str(tree)])
    assert isinstance(found, Problem)
    assert "no permission" in found.reason


def test_a_dangling_link_in_a_folder_is_a_problem(tree: Path) -> None:
    (tree / "logs/a/gone.json").symlink_to("nowhere")
    assert [type(found) for found in discover(["logs/a"])] == [Problem, LogFile]


ERRORS = [
    pytest.param(errno.EACCES, "no permission", id="permission"),
    pytest.param(errno.ENOENT, "no such file", id="gone"),
    pytest.param(errno.EIO, "I/O error", id="a failing disk"),
    pytest.param(errno.ELOOP, os.strerror(errno.ELOOP), id="anything else in the system's words"),
]


@pytest.mark.parametrize(("number", "expected"), ERRORS)
def test_errors_of_the_file_system_are_told_in_words(number: int, expected: str) -> None:
    assert expected in why_unreadable(OSError(number, os.strerror(number)))


def test_any_file_name_can_be_told_of() -> None:
    assert as_text(os.fsdecode(b"caf\xe9.json")) == "caf\\xe9.json"
