"""AT Protocol: one repository is fetched from a real HTTP server, whatever that does; Kafka is the only fake."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from producers.atproto.backfill.fetching import FOLDER, Fetching
from producers.atproto.backfill.pacing import Pace
from producers.atproto.backfill.sending import Sender
from producers.atproto.counters import Counters
from producers.atproto.http import Web
from producers.atproto.identities import HttpDirectory
from producers.atproto.protocol.signatures import Curve, PublicKey
from tallystick.contracts import atproto, slices, stages, timestamps
from tallystick.contracts.atproto import Fetch, Fetched, decode_repository_event, decode_snapshot_line
from tallystick.contracts.stages import Claimed, Failed, Started
from tallystick.settings import AtprotoSettings, Settings
from tests.atproto_hosts import World, breaks_off, document, hosts, redirects, refuses, root_of, sends, trickles
from tests.atproto_world import Repository, content, keys
from tests.memory_publisher import MemoryPublisher
from tests.unit.test_atproto_snapshots import CAPTURED, GOOD, HOSTILE, H

QUICK = Pace(host_first=0.01, host_longest=0.02, host_tries=4, first=0.01, growth=1.0, longest=0.02)


def repository(name: str = "alice", records: int = 5) -> Repository:
    made = Repository(name)
    made.commit({f"app.test/{number:04}": {"n": number} for number in range(records)})
    return made


@pytest.fixture
def world() -> Iterator[World]:
    with hosts() as running:
        yield running


class Run:
    """What came of some fetches."""

    def __init__(self, publisher: MemoryPublisher, counters: Counters) -> None:
        self.counters = counters
        self.events = [decode_repository_event(sent.value) for sent in publisher.of(atproto.COMMITS.name)]
        self.stages: list[stages.StageEvent] = [stages.decode_event(sent.value) for sent in publisher.of("stages")]
        self.topics = [sent.topic for sent in publisher.log]
        self.snapshots = publisher.of(atproto.SNAPSHOTS.name)

    @property
    def fetched(self) -> Fetched:
        [event] = self.events
        assert isinstance(event, Fetched)
        return event

    def last(self) -> stages.StageEvent:
        assert isinstance(self.stages[0], Started)
        return self.stages[-1]

    def lines(self) -> list[Any]:
        return [
            decode_snapshot_line(line)
            for sent in self.snapshots
            for line in slices.decode(sent.value, list(sent.headers.items())).events
        ]


def run(world: World, home: Path, *wishes: Fetch, window: float = 30.0, **settings: object) -> Run:
    """Carry out fetches at once."""
    counters, publisher = Counters(), MemoryPublisher()
    mine = {"plc_url": world.url, "private_hosts": True, "http_seconds": 2.0, "fetch_tries": 3, **settings}
    whole = Settings(home=home, atproto=AtprotoSettings.model_validate(mine))

    async def work() -> None:
        async with Web(whole) as web:
            directory = HttpDirectory(whole, web, counters, first_wait=0.01)
            sender = Sender(whole, publisher)
            fetching = Fetching(whole, web, directory, sender, counters, pace=QUICK, window=window)
            todo = asyncio.gather(*map(fetching.fetch, wishes))
            try:
                while not todo.done():
                    sender.poll()
                    fetching.beat()
                    await asyncio.wait((todo,), timeout=0.005)
                await todo
            finally:
                fetching.close()
                await directory.close()

    asyncio.run(work())
    assert list((home / FOLDER).glob("*")) == []
    return Run(publisher, counters)


def wish(did: str, **fields: Any) -> Fetch:
    return Fetch(did, "backfill", timestamps.now(), **fields)


@pytest.mark.parametrize("did", CAPTURED)
def test_a_captured_repository_is_fetched_checked_and_claimed(world: World, tmp_path: Path, did: str) -> None:
    world.add_car(did, content(CAPTURED[did]), keys()[did].did_key())
    done = run(world, tmp_path, wish(did))
    claim = done.last()
    assert isinstance(claim, Claimed)
    *records, end = done.lines()
    assert (claim.source, claim.kind, claim.stage, claim.run) == (did, "atproto.repository", "fetched", claim.attempt)
    lines = {"lines": len(records) + 1, "events": len(records) + 1, "dead": 0, "blank": 0}
    assert claim.counts == {**lines, "records": len(records), "stale": 0}
    assert claim.digest == f"root:{end.data}"
    last = done.snapshots[-1]
    assert claim.ends == {atproto.SNAPSHOTS.name: {last.partition: last.offset + 1}}
    assert (done.fetched.rev, done.fetched.records, done.fetched.whole) == (end_rev(done), len(records), True)
    assert done.fetched.problem == ""
    assert done.topics.index(atproto.COMMITS.name) > len(done.snapshots) - 1
    assert {sent.headers["attempt"] for sent in done.snapshots} == {b"%d" % claim.attempt}
    assert done.counters.value("fetched_records_total") == len(records)


def end_rev(done: Run) -> str:
    return str(done.snapshots[-1].headers["rev"].decode())


def test_only_what_is_wanted_is_asked_for_and_told(world: World, tmp_path: Path) -> None:
    alice = repository()
    alice.commit({"net.other/a": {"n": 1}})
    world.add(alice)
    done = run(world, tmp_path, wish(alice.did, collections=("net.*",)))
    assert (done.fetched.whole, done.fetched.records) == (False, 1)
    claim = done.last()
    assert isinstance(claim, Claimed)
    assert claim.digest.startswith("lines:")
    kept = run(world, tmp_path, wish(alice.did), collections=["app.*"])
    assert (kept.fetched.whole, kept.fetched.records, kept.lines()[-1].whole) == (True, 5, False)


def test_records_in_other_languages_are_left_out_as_the_streams_leave_them_out(world: World, tmp_path: Path) -> None:
    alice = Repository("alice")
    alice.commit({f"app.test/{lang}": {"langs": [lang]} for lang in ("de", "en", "de-AT")})
    alice.commit({"app.test/none": {"n": 1}})
    world.add(alice)
    done = run(world, tmp_path, wish(alice.did), languages=["de"])
    *records, end = done.lines()
    assert [record.rkey for record in records] == ["de", "de-AT", "none"]
    assert (end.records, end.whole, done.fetched.whole) == (3, False, True)
    claim = done.last()
    assert isinstance(claim, Claimed)
    assert claim.digest.startswith("lines:")


def test_what_is_there_already_is_not_fetched_again(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice)
    ask = wish(alice.did, rev=alice.rev)
    later = wish(alice.did, rev="jzzzzzzzzzzzz")
    done = run(world, tmp_path, ask, ask, wish(alice.did), later)
    assert world.asked[f"getRepo {alice.did}"] == 2
    assert done.counters.value("fetches_total", outcome="not_needed") == 2
    assert done.counters.value("fetches_total", outcome="fetched") == 2
    assert len({event.attempt for event in done.stages if isinstance(event, Claimed)}) == 2


def test_accounts_that_nobody_wants_are_passed_over(world: World, tmp_path: Path) -> None:
    done = run(world, tmp_path, wish("did:plc:x"), dids=["did:plc:y"])
    assert (world.asked.total(), done.topics) == (0, [])


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("RepoTakendown", "takendown"),
        ("RepoSuspended", "suspended"),
        ("RepoDeactivated", "deactivated"),
        ("RepoNotFound", ""),
        ("InvalidRequest", ""),
    ],
)
def test_what_a_host_refuses_is_said_at_once(world: World, tmp_path: Path, name: str, status: str) -> None:
    alice = repository()
    world.add(alice)
    world.say("getRepo", refuses(name))
    done = run(world, tmp_path, wish(alice.did))
    assert (done.fetched.status, done.fetched.problem.partition(":")[0], done.fetched.records) == (status, name, 0)
    failed = done.last()
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.attempt) == (done.fetched.problem, done.fetched.attempt)
    assert world.asked[f"getRepo {alice.did}"] == 1


def test_an_account_that_has_moved_is_fetched_from_where_it_is_now(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice, pds="http://127.0.0.2:9")
    here = document(alice.did, alice.key.did_key(), world.url)
    with hosts() as old:
        there = {**here, "service": [{**here["service"][0], "serviceEndpoint": old.url}]}  # type: ignore[index]
        world.documents[alice.did] = here
        world.say(f"document {alice.did}", answers_json(there))
        old.say("getRepo", refuses("RepoDeactivated"))
        done = run_later(world, tmp_path, alice.did)
    assert (done.fetched.problem, done.fetched.records) == ("", 5)


def answers_json(body: object) -> Any:
    return sends(msgspec.json.encode(body))


def run_later(world: World, home: Path, did: str) -> Run:
    """Fetch with identities that count as fresh for no time, so that a second look asks again."""
    with patch("producers.atproto.identities.FRESH_SECONDS", 0.0):
        return run(world, home, wish(did))


def test_a_signature_of_another_key_is_refused_after_the_key_was_looked_up_anew(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice)
    right = world.documents[alice.did]
    wrong = document(alice.did, Repository("bob").key.did_key(), world.url)
    world.say(f"document {alice.did}", answers_json(wrong))
    assert run_later(world, tmp_path, alice.did).fetched.problem == ""
    world.documents[alice.did] = wrong
    done = run_later(world, tmp_path, alice.did)
    assert done.fetched.problem.startswith("signature_wrong")
    assert run(world, tmp_path, wish(alice.did), validation="hash").fetched.problem == ""
    world.documents[alice.did] = right


def test_an_identity_that_is_not_to_be_had_is_the_reason(world: World, tmp_path: Path) -> None:
    bob = repository("bob")
    world.add(bob)
    world.documents[bob.did] = {**document(bob.did, bob.key.did_key(), world.url), "service": []}
    done = run(world, tmp_path, wish("did:plc:nobody"), wish(bob.did))
    problems = sorted(event.problem for event in done.events if isinstance(event, Fetched))
    assert [problem.partition(":")[0] for problem in problems] == ["identity_unresolved"] * 2
    assert any("no service #atproto_pds" in problem for problem in problems)


def test_a_host_inwards_is_not_asked_unless_it_may_be(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice, pds=world.url.replace("localhost", "127.0.0.1"))
    done = run(world, tmp_path, wish(alice.did), private_hosts=False)
    assert done.fetched.problem.startswith("PrivateAddress")
    assert world.asked[f"getRepo {alice.did}"] == 0


def test_a_host_that_the_user_named_is_asked_wherever_it_is(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice, pds="https://pds.example")
    done = run(world, tmp_path, wish(alice.did, host=world.url), private_hosts=False)
    assert (done.fetched.problem, done.fetched.records) == ("", 5)


def test_it_is_said_again_that_a_fetch_is_under_way(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice)
    world.pause = 0.2
    with patch.dict("os.environ", {"TALLY_READER__HEARTBEAT_SECONDS": "0.02"}):
        done = run(world, tmp_path, wish(alice.did))
    started = [event for event in done.stages if isinstance(event, Started)]
    assert len(started) > 3
    assert len({event.attempt for event in done.stages}) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(refuses("", 500), id="500"),
        pytest.param(refuses("RateLimitExceeded", 429, Retry_After="0"), id="429"),
        pytest.param(breaks_off(b"\x3a"), id="the connection breaks"),
        pytest.param(sends(b"\x3a\xa2"), id="half a CAR"),
    ],
)
def test_trouble_that_passes_is_tried_again_as_a_new_attempt(world: World, tmp_path: Path, trouble: Any) -> None:
    alice = repository()
    world.add(alice)
    world.say("getRepo", trouble)
    done = run(world, tmp_path, wish(alice.did))
    assert (done.fetched.problem, done.fetched.records) == ("", 5)
    attempts = [event.attempt for event in done.stages]
    assert len(set(attempts)) == 2
    assert attempts == sorted(attempts)
    assert not any(isinstance(event, Failed) for event in done.stages)


def test_trouble_without_end_is_given_up(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice)
    world.say("getRepo", *[refuses("", 500)] * 9)
    done = run(world, tmp_path, wish(alice.did))
    assert "HTTP 500" in done.fetched.problem
    assert done.fetched.problem.endswith("(3 tries)")
    assert world.asked[f"getRepo {alice.did}"] == 3


def test_a_host_that_limits_for_ever_is_not_waited_for_and_others_go_on(world: World, tmp_path: Path) -> None:
    alice, bob = repository(), repository("bob")
    world.add(alice)
    with hosts() as other:
        world.add(bob, pds=other.url)
        other.repositories[bob.did] = bob.export()
        world.say("getRepo", *[refuses("RateLimitExceeded", 429)] * 20)
        done = run(world, tmp_path, wish(alice.did), wish(bob.did))
    found = {event.did: event.problem for event in done.events if isinstance(event, Fetched)}
    assert found[bob.did] == ""
    assert "in trouble 4 times in a row" in found[alice.did]
    assert done.counters.value("rate_limited_total", host=world.url.partition("//")[2]) == 4


def test_no_more_are_fetched_at_once_than_may_be(world: World, tmp_path: Path) -> None:
    world.pause = 0.02
    repositories = [repository(f"account{number}", 1) for number in range(12)]
    for one in repositories:
        world.add(one)
    done = run(world, tmp_path, *(wish(one.did) for one in repositories), fetchers_per_host=3)
    assert len(done.events) == 12
    assert world.most_at_once == 3
    assert done.counters.value("fetches_total", outcome="fetched") == 12


@pytest.mark.parametrize(
    ("answer", "settings", "problem"),
    [
        pytest.param(trickles(), {"fetch_slowest": 1000}, "too slow", id="slow"),
        pytest.param(trickles(b"x" * 5000, 0.001), {"fetch_bytes": 20_000}, "more than 20000 bytes", id="endless"),
        pytest.param(sends(b"x" * 30_000), {"fetch_bytes": 20_000}, "30000 bytes, 20000 may be", id="too large"),
        pytest.param(trickles(b"x" * 500), {"fetch_seconds": 0.2}, "not whole within 0.2 s", id="too long"),
        pytest.param(redirects("http://[::bad"), {}, "a redirect", id="a redirect to nowhere"),
    ],
)
def test_a_hostile_host_is_left_with_a_reason(
    world: World, tmp_path: Path, answer: Any, settings: dict[str, object], problem: str
) -> None:
    alice = repository()
    world.add(alice)
    world.say("getRepo", *[answer] * 3)
    done = run(world, tmp_path, wish(alice.did), window=0.1, **{"fetch_slowest": 1, **settings})
    assert problem in done.fetched.problem
    assert done.snapshots == []


@pytest.mark.parametrize(("data", "reason"), HOSTILE)
def test_a_hostile_car_fails_with_its_reason(world: World, tmp_path: Path, data: bytes, reason: str) -> None:
    world.add_car(H.repository.did, data, H.repository.key.did_key())
    done = run(world, tmp_path, wish(H.repository.did), fetch_tries=1)
    assert done.fetched.problem.startswith(reason)
    assert isinstance(done.last(), Failed)
    assert not any(isinstance(line, atproto.End) for line in done.lines())


def test_a_repository_signed_by_a_p256_account_without_its_key_fails(world: World, tmp_path: Path) -> None:
    point = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    world.add_car(H.repository.did, GOOD, PublicKey(Curve.P256, point).did_key())
    assert run(world, tmp_path, wish(H.repository.did)).fetched.problem.startswith("signature_wrong")


def test_the_digest_of_a_whole_snapshot_is_the_root_that_was_signed(world: World, tmp_path: Path) -> None:
    alice = repository()
    world.add(alice)
    claim = run(world, tmp_path, wish(alice.did)).last()
    assert isinstance(claim, Claimed)
    assert claim.digest == root_of(alice)
