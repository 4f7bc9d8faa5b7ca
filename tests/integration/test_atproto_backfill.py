"""AT Protocol on a real Kafka: a host is listed, its repositories are fetched, each once, by one fetcher or by two."""

from collections.abc import Iterator

import pytest

from tallystick.contracts import dead_letters
from tallystick.contracts.atproto import FETCHES, LISTING_KIND, stream_source_id
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.atproto_hosts import World, hosts, refuses
from tests.backfill_world import claims, fetched, fetches, people, require_all, role, scratch_files, snapshots
from tests.plugins.services import apart
from tests.support import eventually


@pytest.fixture(scope="module")
def settings(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with apart(servers, home=tmp_path_factory.mktemp("home")) as mine:
        yield mine


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with hosts() as running:
        running.page_entries = 10
        yield running


def test_a_host_is_listed_and_every_repository_is_fetched_once(settings: Settings, world: World) -> None:
    everybody = people(world, 25)
    world.entries[3] |= {"active": False, "status": "suspended"}
    active = [one for one in everybody if one.did != world.entries[3]["did"]]
    publisher = Publisher(settings, client_id="test")
    publisher.send(settings.kafka.topic(FETCHES), key=b"x", value=b"no fetch")
    publisher.flush()

    with role(settings, world, "atproto-lister", "--host", world.url) as lister:
        assert lister.ended() == 0
        [outcome] = lister.outcomes()
        assert (outcome["state"], outcome["counts"]["events"]) == ("claimed", 25)
    listing = stream_source_id(LISTING_KIND, world.url.partition("//")[2])
    assert claims(settings)[listing].counts == {"lines": 25, "events": 25, "dead": 0, "blank": 0}

    world.say(f"getRepo {active[0].did}", refuses("", 429, Retry_After="0"))
    with role(settings, world, "atproto-fetcher") as fetcher:
        eventually(lambda: len(fetched(settings)), until=lambda count: count >= 24, seconds=90)
        require_all(settings, active)
        eventually(lambda: "measures" in fetcher.said()[-1])
        assert fetcher.stop() == 143
    [letter] = [
        dead_letters.decode(message.value() or b"")
        for message in read_whole(settings, settings.kafka.topic(DEAD_LETTERS), client_id="test")
    ]
    assert (letter.payload, letter.reason, letter.topic) == (b"no fetch", dead_letters.NO_RECORD, FETCHES.name)
    assert scratch_files(settings) == []


def test_what_was_fetched_is_not_fetched_by_the_next_fetcher_and_two_share_the_work(
    settings: Settings, world: World
) -> None:
    before = len(fetched(settings))
    asked = world.asked.copy()
    world.pause = 0.05
    more = people(world, 40, prefix="later")
    dids = [argument for one in more for argument in ("--did", one.did)]
    with role(settings, world, "atproto-lister", *dids) as lister:
        assert lister.ended() == 0
        assert [outcome["did"] for outcome in lister.outcomes()] == [one.did for one in more]
    with role(settings, world, "atproto-fetcher") as one:
        eventually(lambda: len(fetched(settings)), until=lambda count: count > before + 3, seconds=90)
        with role(settings, world, "atproto-fetcher") as other:
            eventually(lambda: len(snapshots(settings)), until=lambda count: count >= 24 + 40, seconds=90)
            eventually(lambda: len({end.did for end in fetched(settings)}), until=lambda count: count >= 24 + 40)
            assert (one.stop(), other.stop()) == (143, 143)
    world.pause = 0.0
    require_all(settings, more)
    repeated = world.asked - asked
    assert not [what for what in repeated if what.startswith("getRepo did:plc:account")]
    assert len(fetches(settings)) == 24 + 40


def test_a_service_lists_anew_until_it_is_stopped(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_ATPROTO__RELIST_SECONDS", "0.1")
    with role(settings, world, "atproto-lister", "--host", world.url, "--again") as lister:
        first, second, *_ = eventually(lister.outcomes, until=lambda told: len(told) >= 2)
        assert lister.stop() == 143
    assert (second["attempt"], second["state"]) == (first["attempt"] + 1, "claimed")
