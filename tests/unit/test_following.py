"""Following real files without Kafka: each test is one thing that happens to a live log."""

import errno
import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from producers.cowrie.following import recognition, views
from producers.cowrie.following.live import LiveContent
from producers.cowrie.following.notices import Notices, roots
from tallystick.contracts.stages import Reach, Started
from tests.following_world import QUIET_SECONDS, FollowingWorld
from tests.support import eventually


def line(number: int) -> bytes:
    at = f"2026-11-23T03:{number // 60:02}:{number % 60:02}.000000Z"
    return b'{"eventid":"cowrie.%d","timestamp":"%s","session":"s%d"}\n' % (number, at.encode(), number % 3)


def content(first: int, last: int) -> bytes:
    return b"".join(map(line, range(first, last)))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def sent(world: FollowingWorld) -> list[int]:
    """Numbers of the events that were sent, repeats included, in order."""
    return sorted(int(found.partition(b"cowrie.")[2].partition(b'"')[0]) for found in world.lines())


Follow = Callable[..., FollowingWorld]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Makes worlds, and closes in the end what their followers hold open, as the end of a process does."""
    worlds: list[FollowingWorld] = []

    def make(*paths: Path, **options: float) -> FollowingWorld:
        worlds.append(FollowingWorld(*paths, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return tmp_path / "cowrie.json"


def test_what_is_appended_is_sent_and_a_half_line_is_held_back_until_its_end(follow: Follow, live: Path) -> None:
    world = follow(live)
    world.pass_time()
    append(live, content(0, 2) + line(2)[:30])
    world.pass_time()
    assert sent(world) == [0, 1]
    world.come_to_rest()
    append(live, line(2)[30:])
    world.pass_time()
    assert sent(world) == [0, 1, 2]
    assert (world.letters(), world.claims()) == ([], [])


def test_a_rotated_log_is_read_to_its_end_claimed_and_then_the_new_one_is_read(follow: Follow, live: Path) -> None:
    world = follow(live)
    live.write_bytes(content(0, 3))
    world.pass_time()
    append(live, content(3, 5))
    live.rename(archive := live.with_name("cowrie.json.2026-11-24"))
    live.write_bytes(content(5, 6))
    world.pass_time()
    assert sent(world) == [0, 1, 2, 3, 4, 5]
    assert world.claims() == []
    world.come_to_rest()
    [claim] = world.claims()
    assert (claim.counts["events"], claim.attempt, claim.name) == (5, 1, str(archive))


def test_a_rotated_log_whose_last_line_is_never_finished_is_claimed_with_it_as_a_letter(
    follow: Follow, live: Path
) -> None:
    world = follow(live)
    live.write_bytes(content(0, 1) + b'{"half')
    world.come_to_rest()
    assert world.letters() == []
    live.rename(live.with_name("cowrie.json.1"))
    world.come_to_rest()
    assert [letter.payload for letter in world.letters()] == [b'{"half']
    [claim] = world.claims()
    assert (claim.counts["events"], claim.counts["dead"]) == (1, 1)


@pytest.mark.parametrize("read_before", [True, False], ids=["read before", "not read before"])
def test_compressing_a_rotated_log_sends_nothing_again(follow: Follow, live: Path, read_before: bool) -> None:
    world = follow(live)
    live.write_bytes(content(0, 3))
    world.pass_time()
    live.rename(archive := live.with_name("cowrie.json.1"))
    append(archive, content(3, 4))
    if read_before:
        world.come_to_rest()
    live.with_name("cowrie.json.1.gz").write_bytes(gzip.compress(archive.read_bytes()))
    archive.unlink()
    world.come_to_rest()
    assert sent(world) == [0, 1, 2, 3]
    assert {claim.source for claim in world.claims()} == {world.claims()[0].source}
    assert world.claims()[-1].counts["events"] == 4


def test_truncation_that_nobody_saw_is_noticed_even_where_the_log_has_grown_past_it(follow: Follow, live: Path) -> None:
    world = follow(live)
    live.write_bytes(content(0, 2))
    world.pass_time()
    os.truncate(live, 0)
    append(live, content(10, 20))
    world.pass_time()
    world.pass_time()
    assert sent(world) == [0, 1, *range(10, 20)]
    world.come_to_rest()
    assert [claim.counts["events"] for claim in world.claims()] == [2]


def test_midnights_that_nobody_saw_are_caught_up_with_and_older_archives_left_alone(follow: Follow, live: Path) -> None:
    old = live.with_name("cowrie.json.2020-01-01")
    old.write_bytes(content(90, 95))
    os.utime(old, (1_600_000_000, 1_600_000_000))
    world = follow(live)
    live.write_bytes(content(0, 1))
    world.pass_time()
    world.die()
    append(live, content(1, 2))
    live.rename(live.with_name("cowrie.json.2026-11-22"))
    live.with_name("cowrie.json.2026-11-23.gz").write_bytes(gzip.compress(content(2, 4)))
    live.write_bytes(content(4, 5))
    world.come_to_rest()
    assert sent(world) == [0, 1, 2, 3, 4]
    assert sorted(claim.counts["events"] for claim in world.claims()) == [2, 2]


def test_an_archive_of_a_folder_is_claimed_at_once_and_read_on_where_it_grows(follow: Follow, tmp_path: Path) -> None:
    archive = tmp_path / "2026" / "cowrie.json.2026-11-23"
    archive.parent.mkdir()
    archive.write_bytes(content(0, 3))
    os.utime(archive, (1_700_000_000, 1_700_000_000))
    world = follow(tmp_path)
    world.pass_time()
    assert [claim.counts["events"] for claim in world.claims()] == [3]
    append(archive, content(3, 4))
    world.come_to_rest()
    assert [claim.counts["events"] for claim in world.claims()] == [3, 4]
    assert sent(world) == [0, 1, 2, 3]


def test_a_damaged_archive_fails_and_what_could_be_read_is_claimed(follow: Follow, tmp_path: Path) -> None:
    world = follow(tmp_path)
    damaged = gzip.compress(os.urandom(50).hex().encode() + b"\n" + content(0, 9))[:-20]
    (tmp_path / "cowrie.json.1.gz").write_bytes(damaged)
    world.come_to_rest()
    assert [outcome.state for outcome in world.outcomes] == ["failed"]
    assert world.outcomes[0].claimed


def test_idle_files_are_neither_held_open_nor_read(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = follow(tmp_path, idle_seconds=60.0)
    for number in range(50):
        folder = tmp_path / f"hp{number}"
        folder.mkdir()
        (folder / "cowrie.json").write_bytes(content(100 * number, 100 * number + 2))
        (folder / "cowrie.json.1").write_bytes(content(100 * number + 50, 100 * number + 52))
    for _ in range(3):
        world.come_to_rest()
    before = len(world.publisher.log)
    assert len(world.claims()) == 50
    assert not [path for path in open_files() if path.startswith(str(tmp_path))]
    monkeypatch.setattr(Path, "open", refuse)
    world.pass_time(100.0)
    assert {sent.topic for sent in world.publisher.log[before:]} <= {"stages"}, "only heartbeats"
    monkeypatch.undo()
    append(tmp_path / "hp7" / "cowrie.json", line(9))
    world.pass_time()
    assert sent(world).count(9) == 1


def test_a_restart_does_not_read_archives_again_that_are_as_they_were(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "cowrie.json.1.gz"
    archive.write_bytes(gzip.compress(content(0, 3)))
    os.utime(archive, (1_700_000_000, 1_700_000_000))
    world = follow(tmp_path)
    world.come_to_rest()
    world.follower.stop()
    monkeypatch.setattr(recognition, "identify", refuse)
    world.start()
    world.come_to_rest()
    assert len(world.claims()) == 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)
def test_a_file_system_with_errors_is_waited_for_and_told_of_once(
    follow: Follow, live: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    world = follow(live)
    live.write_bytes(content(0, 1))
    world.pass_time()
    with capture_logs() as logs:
        monkeypatch.setattr(os, "stat", failing(error))
        world.come_to_rest()
        monkeypatch.undo()
        append(live, line(1))
        world.pass_time()
    said = [entry["event"] for entry in logs if "log" in entry["event"]]
    assert said == ["waiting for a log", "a log is there again"]
    assert sent(world) == [0, 1]
    assert world.claims() == []


def test_a_read_that_fails_is_tried_again_and_loses_nothing(
    follow: Follow, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = follow(live, window_bytes=100)
    live.write_bytes(content(0, 1))
    world.pass_time()
    append(live, content(1, 5))
    with monkeypatch.context() as broken:
        broken.setattr(LiveContent, "read", failing(errno.EIO))
        world.come_to_rest()
    world.pass_time()
    assert sent(world) == [0, 1, 2, 3, 4]
    assert world.claims() == []


def test_a_mount_that_vanishes_and_returns_as_another_device_goes_on_without_a_claim(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "mount"
    (mount / "hp1").mkdir(parents=True)
    live = mount / "hp1" / "cowrie.json"
    live.write_bytes(content(0, 2))
    world = follow(mount)
    world.pass_time()
    mount.rename(tmp_path / "unmounted")
    mount.mkdir()  # the empty place of the mount, on another device
    with monkeypatch.context() as patched:
        patched.setattr(views, "folder_device", lambda _path: -1)
        world.come_to_rest()
    assert world.claims() == []
    mount.rmdir()
    shutil.copytree(tmp_path / "unmounted", mount)  # every file has another inode now
    append(live, line(2))
    world.come_to_rest()
    assert world.claims() == []
    append(live, line(3))
    world.pass_time()
    assert sent(world) == [0, 1, 2, 3]


def test_a_heartbeat_tells_how_far_behind_a_live_source_is_and_an_archives_does_not(
    follow: Follow, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = follow(live, heartbeat_seconds=1e-9)
    live.write_bytes(content(0, 2) + b"half")
    os.utime(live, (1_700_000_000, 1_700_000_000))
    world.pass_time()
    world.pass_time()
    first, *_, last = (event.reach for event in world.stage_events(Started))
    whole, lines = len(content(0, 2)) + 4, len(content(0, 2))
    assert first == Reach(0, whole, "2023-11-14T22:13:20.000000Z")
    assert last == Reach(lines, whole, "2023-11-14T22:13:20.000000Z")
    append(live, b"\n")
    world.pass_time()
    world.pass_time()
    assert world.stage_events(Started)[-1].reach == Reach(whole + 1, whole + 1)


def test_a_deleted_log_is_read_to_its_end_and_claimed(follow: Follow, live: Path) -> None:
    world = follow(live)
    live.write_bytes(content(0, 1))
    world.pass_time()
    append(live, content(1, 3))
    live.unlink()
    world.come_to_rest()
    assert sent(world) == [0, 1, 2]
    assert [claim.counts["events"] for claim in world.claims()] == [3]


def test_quiet_is_waited_for_before_a_claim(follow: Follow, live: Path) -> None:
    world = follow(live)
    live.write_bytes(content(0, 1))
    world.pass_time()
    live.rename(live.with_name("cowrie.json.1"))
    world.pass_time(QUIET_SECONDS - 1)
    world.pass_time(QUIET_SECONDS - 1)
    assert world.claims() == []
    world.pass_time(2.0)
    assert len(world.claims()) == 1


def test_changes_are_told_of_within_a_moment_also_of_files_and_folders_that_appear_later(tmp_path: Path) -> None:
    named, folder = tmp_path / "a" / "cowrie.json", tmp_path / "b"
    named.parent.mkdir()
    with Notices([str(named), str(folder)], watching=True) as notices:
        assert notices.complete, "what is not there yet is watched for in its parent"
        eventually(lambda: (named.write_bytes(line(1)), str(named) in notices.wait(0.2))[1], seconds=10)
        (folder / "deep").mkdir(parents=True)
        notices.renew()
        later = folder / "deep" / "cowrie.json"
        eventually(lambda: (later.write_bytes(line(1)), str(later) in notices.wait(0.2))[1], seconds=10)
    with Notices([str(named)], watching=False) as silent:
        assert not silent.complete
        named.write_bytes(line(2))
        assert silent.wait(0.1) == set()


@pytest.mark.parametrize(
    ("asked", "watched"),
    [
        pytest.param("{}", {"{}": True}, id="a folder, with all below it"),
        pytest.param("{}/x.json", {"{}": False}, id="the folder of a file"),
        pytest.param("{}/*.json", {"{}": False}, id="the folder of a pattern of names"),
        pytest.param("{}/*/cowrie.json", {"{}": True}, id="all folders below the fixed part of a pattern"),
        pytest.param("{}/away/hp1", {"{}/away": False}, id="the parent of what isn't there"),
    ],
)
def test_what_is_watched(tmp_path: Path, asked: str, watched: dict[str, bool]) -> None:
    assert roots([asked.format(tmp_path)]) == {path.format(tmp_path): deep for path, deep in watched.items()}


def refuse(*_arguments: object, **_options: object) -> None:
    raise AssertionError("a file was opened that has not changed")


def failing(number: int) -> Callable[..., object]:
    def fail(*_arguments: object, **_options: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


def open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return found
