"""AT Protocol: a host's list of repositories is read page by page, a cursor stored behind each; Kafka is faked."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from producers.atproto.backfill.asking import check_dids, options_of
from producers.atproto.backfill.listing import Lister, Outcome, Progress
from producers.atproto.backfill.pacing import Pace
from producers.atproto.backfill.pages import Options
from producers.atproto.counters import Counters
from producers.atproto.hosts import host_of
from producers.atproto.http import Web
from producers.checkpoints import Checkpoints
from tallystick.contracts import atproto, dead_letters, stages
from tallystick.contracts.sources import Checkpoint, decode_checkpoint
from tallystick.contracts.stages import Claimed, Failed, Started
from tallystick.contracts.tids import tid_at
from tallystick.contracts.topics import SOURCE_POSITIONS
from tallystick.errors import UsageError
from tallystick.settings import AtprotoSettings, Settings
from tests.atproto_hosts import World, breaks_off, hosts, refuses, sends
from tests.memory_publisher import MemoryPublisher

REV = tid_at(1_795_406_900_000_000)
QUICK = Pace(host_first=0.001, host_longest=0.002)


@pytest.fixture
def world() -> Iterator[World]:
    with hosts() as running:
        running.entries = [entry(number) for number in range(25)]
        running.page_entries = 10
        yield running


def entry(number: int, **changes: object) -> dict[str, object]:
    return {"did": f"did:plc:a{number:03}", "head": "bafy", "rev": REV, "active": True, **changes}


class Run:
    """What one run of the lister has left."""

    def __init__(self, publisher: MemoryPublisher, outcome: Outcome, progress: list[Progress]) -> None:
        self.publisher, self.outcome, self.progress = publisher, outcome, progress

    @property
    def fetches(self) -> list[atproto.Fetch]:
        return [atproto.decode_fetch(sent.value) for sent in self.publisher.of(atproto.FETCHES.name)]

    @property
    def numbers(self) -> list[int]:
        return [int(fetch.did[-3:]) for fetch in self.fetches]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        return [decode_checkpoint(sent.value) for sent in self.publisher.of(SOURCE_POSITIONS.name)]

    @property
    def stages(self) -> list[stages.StageEvent]:
        return [stages.decode_event(sent.value) for sent in self.publisher.of("stages")]


def run(
    world: World,
    options: Options | None = None,
    *,
    known: Checkpoint | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Run:
    publisher, progress = MemoryPublisher(), list[Progress]()
    whole = Settings(atproto=AtprotoSettings(checkpoint_seconds=1e-9, http_seconds=2.0, **settings))
    host = host_of(world.url)

    async def work() -> Outcome:
        checkpoints = Checkpoints(whole, publisher, {known.source: known} if known else {})
        async with Web(whole, named=(host.http,)) as web:
            return await Lister(
                whole,
                host,
                options or Options(),
                web,
                publisher,
                checkpoints,
                stop=stop,
                counters=Counters(),
                tell=progress.append,
                pace=QUICK,
            ).list()

    return Run(publisher, asyncio.run(work()), progress)


def test_all_pages_become_fetches_and_are_claimed(world: World) -> None:
    done = run(world)
    assert done.numbers == list(range(25))
    assert {(fetch.why, fetch.host, fetch.rev) for fetch in done.fetches} == {("backfill", "", REV)}
    assert {sent.key.decode() for sent in done.publisher.of(atproto.FETCHES.name)} == {f.did for f in done.fetches}
    assert world.cursors == ["", "1795404705775::did:plc:a009", "1795404705785::did:plc:a019"]
    counts = {"lines": 25, "events": 25, "dead": 0, "blank": 0}
    assert (done.outcome.state, done.outcome.attempt, done.outcome.counts) == ("claimed", 1, counts)
    started, claim = done.stages[0], done.stages[-1]
    assert isinstance(started, Started)
    assert isinstance(claim, Claimed)
    assert (claim.source, claim.stage, claim.counts) == (done.outcome.source, "listed", counts)
    ends = claim.ends[atproto.FETCHES.name]
    assert sum(ends.values()) == 25
    last = done.checkpoints[-1]
    assert (last.claimed, last.cursor, last.position, last.counts) == (True, "", 25, counts)


def test_options_go_with_every_fetch(world: World) -> None:
    done = run(world, Options(collections=("app.bsky.*",), since=REV))
    assert {(fetch.collections, fetch.since) for fetch in done.fetches} == {(("app.bsky.*",), REV)}


def test_only_accounts_that_are_wanted_are_asked_for(world: World) -> None:
    done = run(world, Options(dids=frozenset(["did:plc:a003", "did:plc:a024"])))
    assert done.numbers == [3, 24]
    assert done.outcome.counts == {"lines": 25, "events": 2, "dead": 0, "blank": 23}


def test_an_inactive_account_is_told_of_instead_of_fetched(world: World) -> None:
    world.entries[1] = entry(1, active=False, status="takendown")
    world.entries[2] = entry(2, active=False)
    world.entries[3] = entry(3, rev="")
    done = run(world)
    assert [number for number in range(25) if number not in done.numbers] == [1, 2]
    assert {fetch.rev for fetch in done.fetches if fetch.did.endswith("a003")} == {""}
    for topic in (atproto.ACCOUNTS, atproto.COMMITS):
        told = [atproto.decode_account(sent.value) for sent in done.publisher.of(topic.name)]
        assert [(account.did, account.status, account.host) for account in told] == [
            ("did:plc:a001", "takendown", host_of(world.url).name),
            ("did:plc:a002", "", host_of(world.url).name),
        ]
    assert done.outcome.counts["events"] == 25


def test_a_malformed_entry_is_a_dead_letter_and_takes_no_other_with_it(world: World) -> None:
    world.entries[4] = {"did": "no\x1bDID", "rev": REV}
    world.entries[14] = {"handle": "x"}
    done = run(world)
    letters = [dead_letters.decode(sent.value) for sent in done.publisher.of("dead.letters")]
    assert [(letter.position, letter.source, letter.origin) for letter in letters] == [
        (4, done.outcome.source, "read"),
        (14, done.outcome.source, "read"),
    ]
    assert msgspec.json.decode(letters[1].payload) == {"handle": "x"}
    assert done.outcome.counts == {"lines": 25, "events": 23, "dead": 2, "blank": 0}
    assert len(done.numbers) == 23


def test_a_page_in_trouble_is_asked_for_again_by_the_same_cursor(world: World) -> None:
    troubles = [
        refuses("", 500),
        refuses("RateLimitExceeded", 429, Retry_After="0"),
        sends(b"<html>"),
        breaks_off(b"{"),
        sends(b'{"repos":5}'),
        refuses("InvalidRequest"),
    ]
    asked = list[str]()

    async def noted(request: Any) -> Any:
        asked.append(request.query.get("cursor", ""))
        return await troubles[len(asked) - 1](request)

    world.say("listRepos", *[noted] * len(troubles))
    done = run(world)
    assert asked == [""] * len(troubles)
    assert done.numbers == list(range(25))


def test_a_host_that_always_refuses_fails_the_list_which_goes_on_at_the_same_page(world: World) -> None:
    first = run(world, stop=lambda: len(world.cursors) > 1)
    assert first.outcome.state == "interrupted"
    known = first.checkpoints[-1]
    world.say("listRepos", *[refuses("InvalidRequest")] * 5)
    failed = run(world, known=known)
    assert failed.outcome.state == "failed"
    assert "InvalidRequest" in failed.outcome.reason
    assert isinstance(failed.stages[-1], Failed)
    again = run(world, known=failed.checkpoints[-1])
    assert (again.outcome.state, again.outcome.attempt) == ("claimed", 2)
    assert again.outcome.counts["lines"] == 25


def test_a_list_that_was_interrupted_goes_on_at_the_stored_page(world: World) -> None:
    first = run(world, stop=lambda: len(world.cursors) > 1)
    stored = first.checkpoints[-1]
    assert (stored.claimed, stored.position) == (False, len(first.numbers))
    assert stored.cursor == f"{1795404705775 + stored.position - 10}::did:plc:a{stored.position - 1:03}"
    second = run(world, known=stored)
    assert first.numbers + second.numbers == list(range(25))
    assert (second.outcome.attempt, second.outcome.counts["lines"]) == (1, 25)


def test_a_list_that_came_to_its_end_is_only_claimed_if_that_was_not_done(world: World) -> None:
    done = run(world)
    unclaimed = next(one for one in done.checkpoints if not one.claimed and not one.cursor)
    again = run(world, known=unclaimed)
    assert (again.fetches, again.outcome.state, again.outcome.counts) == ([], "claimed", done.outcome.counts)
    anew = run(world, known=done.checkpoints[-1])
    assert (anew.numbers, anew.outcome.attempt) == (list(range(25)), 2)


def test_a_list_that_asks_for_something_else_begins_at_the_first_page(world: World) -> None:
    first = run(world, stop=lambda: len(world.cursors) > 1)
    other = run(world, Options(since=REV), known=first.checkpoints[-1])
    assert (other.numbers, other.outcome.attempt) == (list(range(25)), 2)


def test_a_list_that_leads_in_a_circle_fails(world: World) -> None:
    page = b'{"repos":[],"cursor":"round"}'
    world.say("listRepos", *[sends(page)] * 3)
    assert "leads back" in run(world).outcome.reason


def test_an_empty_list_is_claimed_as_that(world: World) -> None:
    world.entries = []
    assert run(world).outcome.counts == {"lines": 0, "events": 0, "dead": 0, "blank": 0}


@pytest.mark.parametrize("died_at", range(0, 30, 4))
def test_whenever_it_dies_no_page_is_lost(world: World, died_at: int) -> None:
    class Dead(Exception):
        pass

    sent = 0

    def before(_topic: str) -> None:
        nonlocal sent
        sent += 1
        if sent > died_at:
            raise Dead

    publisher = MemoryPublisher(before_send=before)
    whole = Settings(atproto=AtprotoSettings(checkpoint_seconds=1e-9))
    host = host_of(world.url)

    async def work() -> None:
        async with Web(whole, named=(host.http,)) as web:
            checkpoints = Checkpoints(whole, publisher, {})
            await Lister(
                whole, host, Options(), web, publisher, checkpoints,
                stop=lambda: False, counters=Counters(), tell=lambda _progress: publisher.poll(0.1),
            ).list()  # fmt: skip

    with pytest.raises(Dead):
        asyncio.run(work())
    publisher.lose(keep=0)
    first = Run(publisher, None, [])  # type: ignore[arg-type]
    again = run(world, known=first.checkpoints[-1] if first.checkpoints else None)
    assert sorted({*first.numbers, *again.numbers}) == list(range(25))
    assert again.outcome.counts["lines"] == 25


@pytest.mark.parametrize(("collections", "since"), [(["app/bsky"], ""), (["x y"], ""), ([], "yesterday"), ([""], "")])
def test_what_can_not_be_meant_is_a_wrong_command_line(collections: list[str], since: str) -> None:
    with pytest.raises(UsageError):
        options_of(collections, since)


@pytest.mark.parametrize(("did", "kept"), [("alice.test", ()), ("did:plc:x", ("did:plc:y",))])
def test_accounts_that_can_not_be_fetched_are_a_wrong_command_line(did: str, kept: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        check_dids([did], kept)
    check_dids(["did:plc:y"], kept)
