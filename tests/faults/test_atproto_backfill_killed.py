"""Kill lister and fetcher with SIGKILL at work: no page is lost, and every repository's newest snapshot is whole."""

from collections.abc import Iterator

import pytest

from producers.checkpoints import read_checkpoints
from tallystick.contracts.atproto import LISTING_KIND, stream_source_id
from tallystick.settings import Settings
from tests.atproto_hosts import World, hosts
from tests.backfill_world import all_done, claims, fetched, fetches, people, require_all, role, scratch_files
from tests.support import eventually

ACCOUNTS = 60


@pytest.fixture
def world() -> Iterator[World]:
    with hosts() as running:
        running.page_entries = 6
        yield running


def kill_a_fetcher(settings: Settings, world: World, least: int) -> None:
    """Kill a fetcher once so many repositories are fetched; others are on their way by then."""
    with role(settings, world, "atproto-fetcher") as fetcher:
        eventually(lambda: len(fetched(settings)), until=lambda count: count >= least)
        fetcher.process.kill()
        fetcher.process.wait()


def test_a_backfill_whose_roles_are_killed_goes_on_and_is_complete(settings: Settings, world: World) -> None:
    everybody = people(world, ACCOUNTS)
    listing = stream_source_id(LISTING_KIND, world.url.partition("//")[2])
    world.pause = 0.3
    with role(settings, world, "atproto-lister", "--host", world.url) as lister:
        eventually(lambda: listing in read_checkpoints(settings))
        lister.process.kill()
        lister.process.wait()
    killed_at = len(world.cursors)
    world.pause = 0.1
    with role(settings, world, "atproto-lister", "--host", world.url) as lister:
        assert lister.ended() == 0
    assert world.cursors[killed_at] != "", "it goes on at the stored page"
    assert {fetch.did for fetch in fetches(settings)} == {one.did for one in everybody}
    assert claims(settings)[listing].counts == {"lines": ACCOUNTS, "events": ACCOUNTS, "dead": 0, "blank": 0}

    for least in (10, 25):
        kill_a_fetcher(settings, world, least)
    assert len(fetched(settings)) < ACCOUNTS, "it was killed while there was work"
    with role(settings, world, "atproto-fetcher") as fetcher:
        eventually(lambda: all_done(settings))
        assert fetcher.stop() == 143
    require_all(settings, everybody)
    assert {end.problem for end in fetched(settings)} == {""}
    assert scratch_files(settings) == []
