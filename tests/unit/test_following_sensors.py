"""Following the logs of several sensors at once: each file goes with its own, whatever it is rotated to."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.following_world import FollowingWorld


def line(number: int) -> bytes:
    return b'{"eventid":"cowrie.x","timestamp":"2026-11-23T03:00:%02d","session":"s"}\n' % number


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FollowingWorld]:
    """Two sensors whose logs have the same name, each in a folder of its own."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    world = FollowingWorld()
    world.follow_too("one", tmp_path / "one" / "cowrie.json", zone="Europe/Berlin")
    world.follow_too("two", tmp_path / "two")
    yield world
    world.close()


def sent(world: FollowingWorld) -> set[tuple[str, bytes, str]]:
    """Sensor, line and zone of every event."""
    return {(sensor, event, str(part.zone)) for (sensor, _), part in world.slices() for event in part.events}


def test_each_log_is_read_with_the_sensor_and_the_zone_that_it_was_found_for(
    world: FollowingWorld, tmp_path: Path
) -> None:
    (tmp_path / "one" / "cowrie.json").write_bytes(line(1))
    (tmp_path / "two" / "cowrie.json").write_bytes(line(2))
    world.pass_time()
    assert sent(world) == {("one", line(1)[:-1], "Europe/Berlin"), ("two", line(2)[:-1], "UTC")}
    assert {(said.sensor, Path(said.path).parent.name) for said in world.progress} == {("one", "one"), ("two", "two")}


def test_what_was_rotated_while_nobody_followed_goes_with_its_log(world: FollowingWorld, tmp_path: Path) -> None:
    log = tmp_path / "one" / "cowrie.json"
    log.write_bytes(line(1))
    world.pass_time()
    world.close()
    rotated = log.read_bytes() + line(2)
    log.unlink()
    log.with_name("cowrie.json.2026-11-23.gz").write_bytes(gzip.compress(rotated))
    log.write_bytes(line(3))
    world.start()
    world.come_to_rest()
    assert sent(world) == {("one", line(number)[:-1], "Europe/Berlin") for number in (1, 2, 3)}
    assert [Path(claim.name).name for claim in world.claims()] == ["cowrie.json.2026-11-23.gz"]


def test_a_log_of_two_sensors_is_followed_once_for_the_first_of_them(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(line(1))
    world = FollowingWorld()
    world.follow_too("one", log, zone="Europe/Berlin")
    world.follow_too("two", tmp_path)
    world.come_to_rest()
    with log.open("ab") as file:
        file.write(line(2))
    world.pass_time()
    world.close()
    assert world.events() == [("one", "s", line(1)[:-1]), ("one", "s", line(2)[:-1])]


def test_a_log_whose_content_is_replaced_stays_with_its_sensor(world: FollowingWorld, tmp_path: Path) -> None:
    log = tmp_path / "one" / "cowrie.json"
    log.write_bytes(line(1) + line(2))
    world.pass_time()
    log.write_bytes(line(3))
    world.come_to_rest()
    assert sent(world) == {("one", line(number)[:-1], "Europe/Berlin") for number in (1, 2, 3)}
