"""Where most of a log is no events it fails loudly, and is read on from where it stopped once the limit is raised."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.cowrie.limits import TooManyDeadLetters, require_events
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.stages import Claimed, Failed
from tallystick.settings import ReaderSettings
from tests.following_world import FollowingWorld
from tests.reading_world import World

BAD = DeadLetter("s", 70, "not JSON", b"\x1b[31mTraceback \xff" + b"x" * 100)


def event(number: int) -> bytes:
    at = f"2026-11-23T03:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    return b'{"eventid":"cowrie.%d","timestamp":"%s","session":"s%d"}\n' % (number, at.encode(), number % 3)


def junk(first: int, last: int) -> bytes:
    return b"".join(b"junk %d\n" % number for number in range(first, last))


def events(first: int, last: int) -> bytes:
    return b"".join(map(event, range(first, last)))


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[FollowingWorld]:
    world = FollowingWorld(tmp_path / "cowrie.json", max_dead_after=20)
    yield world
    world.close()


@pytest.mark.parametrize(
    ("dead", "lines", "letters", "share"),
    [
        pytest.param(5, 5, [BAD], 0.5, id="few lines are never too many"),
        pytest.param(999, 999, [BAD], 0.5, id="one line short of the minimum"),
        pytest.param(500, 1_000, [BAD], 0.5, id="exactly the share"),
        pytest.param(1_000, 1_000, [BAD], 1.0, id="1 is no limit"),
        pytest.param(600, 1_100, [], 0.5, id="a window without a letter"),
    ],
)
def test_what_is_allowed(dead: int, lines: int, letters: list[DeadLetter], share: float) -> None:
    require_events(dead=dead, lines=lines, letters=letters, bounds=ReaderSettings(max_dead_share=share))


@pytest.mark.parametrize(("dead", "lines"), [(1_000, 1_000), (501, 1_000), (5_001, 10_000)])
def test_beyond_the_share_the_reason_names_share_example_and_what_to_do(dead: int, lines: int) -> None:
    with pytest.raises(TooManyDeadLetters) as raised:
        require_events(dead=dead, lines=lines, letters=[BAD], bounds=ReaderSettings())
    said = str(raised.value)
    assert f"{dead} of {lines} lines are no events, more than reader.max_dead_share = 0.5 allows" in said
    assert r"for example at position 70: not JSON: '\x1b[31mTraceback \\xff" in said
    assert "set reader.max_dead_share higher" in said
    assert said.isprintable()


def test_the_file_fails_its_letters_stay_and_other_files_are_read(tmp_path: Path) -> None:
    world = World(max_dead_after=50, window_bytes=100)
    (tmp_path / "a.json").write_bytes(junk(0, 400))
    (tmp_path / "b.json").write_bytes(events(0, 90))
    bad, good = world.run(tmp_path)
    assert (bad.state, bad.claimed, good.state) == ("failed", False, "claimed")
    assert "lines are no events" in bad.reason
    assert [failed.reason for failed in world.stage_events(Failed)] == [f"{tmp_path / 'a.json'}: {bad.reason}"]
    assert {claim.source for claim in world.stage_events(Claimed)} == {good.source}
    assert 0 < len(world.letters()) < 60
    assert world.checkpoints()[bad.source].dead == len(world.letters())


def test_a_raised_limit_reads_on_from_the_checkpoint(tmp_path: Path) -> None:
    world = World(max_dead_after=50, window_bytes=100)
    path = tmp_path / "a.json"
    path.write_bytes(junk(0, 100) + events(0, 20))
    assert world.read(path).state == "failed"
    sent = len(world.letters())
    assert world.read(path).state == "failed", "the same limit gives the same end"
    assert len(world.letters()) == sent, "what was sent is not sent again"
    world.settings = world.settings.model_copy(
        update={"reader": world.settings.reader.model_copy(update={"max_dead_share": 1.0})}
    )
    outcome = world.read(path)
    assert (outcome.state, outcome.attempt) == ("claimed", 3)
    assert outcome.counts == {"lines": 120, "events": 20, "dead": 100, "blank": 0, "bytes": path.stat().st_size}
    assert world.observed(outcome.source) == (20, 100)
    assert len(world.letters()) == 100


def test_a_followed_file_that_is_no_log_is_let_be_until_it_is_written_anew(
    follow: FollowingWorld, tmp_path: Path
) -> None:
    live = tmp_path / "cowrie.json"
    live.write_bytes(junk(0, 5))
    follow.pass_time()
    assert len(follow.letters()) == 5
    for number in range(3):
        with live.open("ab") as file:
            file.write(junk(5 + 20 * number, 25 + 20 * number))
        follow.pass_time()
    assert [outcome.state for outcome in follow.outcomes] == ["failed"]
    assert len(follow.stage_events(Failed)) == 1, "it does not fail again with every line"
    assert len(follow.letters()) == 5
    live.write_bytes(events(0, 1))
    follow.pass_time()
    assert len(follow.lines()) == 1


def test_a_rotated_file_that_is_no_log_fails_with_its_unfinished_last_line(tmp_path: Path) -> None:
    path = tmp_path / "cowrie.json.2026-11-23"
    path.write_bytes(junk(0, 10) + events(0, 10) + b"half")
    world = FollowingWorld(path, max_dead_after=20)
    world.come_to_rest()
    assert [outcome.state for outcome in world.outcomes] == ["failed"]
    assert world.claims() == []
    world.close()
