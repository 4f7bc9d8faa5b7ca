"""What is done with a followed source, and which names are taken for what: tables, without a file system."""

import pytest

from producers.cowrie.following.arrivals import Arrivals
from producers.cowrie.following.eras import eras
from producers.cowrie.following.names import is_archive, stem
from producers.cowrie.following.steps import Stamp, Standing, Step, in_order, next_step, whereabouts
from tallystick.contracts.sources import Checkpoint


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        pytest.param(Standing(quiet=True), Step.WAIT, id="a live file is never claimed"),
        pytest.param(Standing(archive=True), Step.WAIT, id="what was changed just now may change again"),
        pytest.param(Standing(archive=True, quiet=True), Step.CONCLUDE, id="an archive left alone is complete"),
        pytest.param(
            Standing(archive=True, quiet=True, away=True), Step.WAIT, id="a file system that is away tells nothing"
        ),
        pytest.param(Standing(lost=True), Step.WAIT, id="what is gone may come again, under another name"),
        pytest.param(Standing(lost=True, quiet=True), Step.CONCLUDE, id="what stays away was deleted"),
        pytest.param(
            Standing(lost=True, quiet=True, unrecognised=True),
            Step.WAIT,
            id="but not before the files beside it have been recognised",
        ),
        pytest.param(
            Standing(lost=True, quiet=True, unrecognised=True, copies=True),
            Step.HAND_OVER,
            id="a copy goes on where it ended",
        ),
        pytest.param(
            Standing(archive=True, quiet=True, copies=True),
            Step.CONCLUDE,
            id="while the file is there copies don't count",
        ),
    ],
)
def test_what_follows(standing: Standing, step: Step) -> None:
    assert next_step(standing) is step


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("cowrie.json", False),
        ("hp1.json", False),
        ("12345678.json", False),
        ("cowrie.log", False),
        ("cowrie.json.2026-11-24", True),
        ("cowrie.json.1", True),
        ("cowrie.json.1.gz", True),
        ("cowrie.json-20261124.bz2", True),
        ("cowrie-20261124.json", True),
        ("cowrie.2026-11-24.json", True),
        ("cowrie.log.3", True),
        ("/2026-11-24/cowrie.json", False),
    ],
)
def test_an_archive_is_told_by_its_name(name: str, archive: bool) -> None:
    assert is_archive(name) is archive


@pytest.mark.parametrize(
    "name",
    ["cowrie.json", "cowrie.json.1.gz", "cowrie.json-20261124", "cowrie-20261124.json", "cowrie.2026-11-24.json"],
)
def test_files_of_one_log_have_one_stem(name: str) -> None:
    assert stem(name) == "cowrie"


def test_a_file_is_found_again_under_another_name() -> None:
    stamps = {"/a": Stamp((1, 7), 10, 0), "/b": Stamp((1, 8), 10, 0), "/c": Stamp((1, 7), 10, 0)}
    assert whereabouts((1, 8), "/a", stamps) == ("/b", stamps["/b"])
    assert whereabouts((1, 7), "/c", stamps) == ("/c", stamps["/c"])
    assert whereabouts((1, 7), "/x", stamps) == ("/a", stamps["/a"])
    assert whereabouts((2, 7), "/a", stamps) is None


def test_live_files_are_opened_before_archives_and_those_by_name() -> None:
    names = ["/a/cowrie.json.2", "/b/cowrie.json", "/a/cowrie.json.1", "/a/cowrie.json"]
    assert in_order(names) == ["/a/cowrie.json", "/b/cowrie.json", "/a/cowrie.json.1", "/a/cowrie.json.2"]


def test_a_lag_is_as_old_as_the_oldest_part_that_is_not_acknowledged() -> None:
    arrivals = Arrivals(100)
    arrivals.note(100, "t0")
    assert arrivals.since(100) == ""
    arrivals.note(150, "t1")
    arrivals.note(200, "t2")
    assert arrivals.since(100) == arrivals.since(149) == "t1"
    assert arrivals.since(150) == "t2"
    assert arrivals.since(200) == ""


def test_arrivals_without_end_need_no_memory_without_end_and_never_look_younger() -> None:
    arrivals = Arrivals(0)
    for number in range(1, 5_000):
        arrivals.note(number, f"t{number:04}")
    assert arrivals.since(0) == "t0001"
    assert arrivals.since(998) == "t0999"
    assert arrivals.since(4_000) == "t1000"


def checkpoint(name: str, at: str, *, claimed: bool, digest: str = "d") -> Checkpoint:
    return Checkpoint("s", "cowrie.log", name, 1, 0, digest, 0, 0, 0, 0, {}, claimed, at)


@pytest.mark.parametrize(
    ("known", "since"),
    [
        pytest.param([], None, id="nothing is known of a log that was never followed"),
        pytest.param(
            [checkpoint("/l/cowrie.json.1", "t1", claimed=True), checkpoint("/l/cowrie.json", "t2", claimed=True)],
            "t2",
            id="where all is claimed, nothing older than the newest was missed",
        ),
        pytest.param(
            [checkpoint("/l/cowrie.json.1", "t1", claimed=False), checkpoint("/l/cowrie.json", "t2", claimed=False)],
            "t1",
            id="else nothing older than the oldest that was begun",
        ),
        pytest.param(
            [checkpoint("/l/cowrie.json", "t1", claimed=False, digest="")], None, id="a path that failed tells nothing"
        ),
        pytest.param([checkpoint("/m/cowrie.json", "t1", claimed=False)], None, id="nor does another folder"),
    ],
)
def test_since_when_something_may_have_been_missed(known: list[Checkpoint], since: str | None) -> None:
    assert eras(known).get(("/l", "cowrie")) == since
