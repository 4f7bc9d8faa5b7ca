"""AT Protocol: identities are resolved over HTTP, once for all who ask, and trouble is told from absence."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest

from producers.atproto.counters import Counters
from producers.atproto.directory import Identity, Unresolvable
from producers.atproto.documents import document_url, identity_of
from producers.atproto.http import Web
from producers.atproto.identities import HttpDirectory
from producers.atproto.protocol.signatures import PublicKey
from tallystick.settings import AtprotoSettings, Settings
from tests.atproto_hosts import World, document, hosts, refuses, sends
from tests.atproto_world import FIXTURES, LABELER, Repository, keys

ALICE = Repository("alice")
BOB = Repository("bob")
ASKED = f"document {ALICE.did}"


@pytest.fixture
def world() -> Iterator[World]:
    with hosts() as running:
        running.add(ALICE, pds="https://pds.example")
        yield running


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(world: World, work: Callable[[HttpDirectory, Clock], Awaitable[None]], **settings: object) -> Counters:
    """Run `work` with a directory that asks `world`."""
    counters = Counters()

    async def inner() -> None:
        mine = AtprotoSettings.model_validate({"plc_url": f"{world.url}/", "http_seconds": 2.0, **settings})
        whole = Settings.model_construct(atproto=mine)
        clock = Clock()
        async with Web(whole) as web:
            directory = HttpDirectory(whole, web, counters, clock=clock, first_wait=0.01)
            try:
                await work(directory, clock)
            finally:
                await directory.close()

    asyncio.run(inner())
    return counters


def test_many_who_ask_at_once_are_one_request_and_what_is_known_is_not_asked_again(world: World) -> None:
    async def work(directory: HttpDirectory, _clock: Clock) -> None:
        assert directory.cached(ALICE.did) is None
        found = await asyncio.gather(*(directory.resolve(ALICE.did) for _ in range(20)))
        assert set(found) == {
            Identity(did=ALICE.did, key=ALICE.key, pds="https://pds.example", handle="alice.test", problem="")
        }
        assert directory.cached(ALICE.did) == found[0]
        await directory.resolve(ALICE.did)

    counters = run(world, work)
    assert world.asked[ASKED] == 1
    assert counters.value("identities_resolved_total", outcome="resolved") == 1


def test_it_is_asked_again_when_it_is_old_or_is_to_be_fresh(world: World) -> None:
    async def work(directory: HttpDirectory, clock: Clock) -> None:
        await directory.resolve(ALICE.did)
        await directory.resolve(ALICE.did, fresh=True)
        assert world.asked[ASKED] == 1, "what is new enough is fresh"
        clock.now += 2
        world.documents[ALICE.did] = document(ALICE.did, BOB.key.did_key(), "https://other.example")
        assert (await directory.resolve(ALICE.did)).key == ALICE.key
        assert (await directory.resolve(ALICE.did, fresh=True)).key == BOB.key
        assert world.asked[ASKED] == 2
        clock.now += 60
        assert directory.cached(ALICE.did) is None
        await directory.resolve(ALICE.did)
        assert world.asked[ASKED] == 3

    run(world, work, identity_seconds=60)


def test_only_so_many_are_kept_and_the_least_used_goes(world: World) -> None:
    world.add(BOB)
    carol = Repository("carol")
    world.add(carol)

    async def work(directory: HttpDirectory, _clock: Clock) -> None:
        await directory.resolve(ALICE.did)
        await directory.resolve(BOB.did)
        assert directory.cached(ALICE.did) is not None
        await directory.resolve(carol.did)
        assert [directory.cached(did) is not None for did in (ALICE.did, BOB.did, carol.did)] == [True, False, True]

    run(world, work, identities=2)


def test_trouble_of_the_directory_is_waited_for(world: World) -> None:
    troubles = [
        refuses("", 500),
        refuses("", 429, Retry_After="0"),
        refuses("", 403),
        sends(b"<html>"),
        refuses("", 503),
    ]
    world.say(ASKED, *troubles)

    async def work(directory: HttpDirectory, _clock: Clock) -> None:
        assert (await directory.resolve(ALICE.did)).key == ALICE.key

    assert run(world, work).value("identities_resolved_total", outcome="retried") == len(troubles)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_what_the_directory_does_not_know_is_not_waited_for_and_is_remembered(world: World, status: int) -> None:
    world.say(ASKED, refuses("", status))

    async def work(directory: HttpDirectory, clock: Clock) -> None:
        for _ in range(2):
            with pytest.raises(Unresolvable, match=str(status)):
                await directory.resolve(ALICE.did)
        assert directory.cached(ALICE.did) is None
        clock.now += 100
        assert (await directory.resolve(ALICE.did)).key == ALICE.key

    counters = run(world, work)
    assert world.asked[ASKED] == 2
    assert counters.value("identities_resolved_total", outcome="unresolvable") == 1


def test_one_who_gives_up_does_not_take_the_answer_from_the_others(world: World) -> None:
    async def work(directory: HttpDirectory, _clock: Clock) -> None:
        impatient, patient = (asyncio.create_task(directory.resolve(ALICE.did)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).did == ALICE.did

    run(world, work)


def test_a_did_web_is_asked_of_its_host_which_has_three_tries(world: World) -> None:
    did = f"did:web:localhost%3A{world.url.rpartition(':')[2]}"
    world.documents[did] = document(did, BOB.key.did_key(), "https://pds.example")
    world.say(f"document {did}", refuses("", 500), refuses("", 502))

    async def work(directory: HttpDirectory, clock: Clock) -> None:
        assert (await directory.resolve(did)).key == BOB.key
        clock.now += 10
        world.say(f"document {did}", *[refuses("", 500)] * 3)
        with pytest.raises(Unresolvable, match="3 tries"):
            await directory.resolve(did, fresh=True)
        clock.now += 100
        world.say(f"document {did}", refuses("", 404))
        with pytest.raises(Unresolvable, match="404"):
            await directory.resolve(did)

    run(world, work)


@pytest.mark.parametrize(
    "did", ["did:key:zQ3sh", "did:plc:", "did:plc:a/../b", "did:web:1.2.3.4", "did:web:a.b:path", "did:web:a.b%2F"]
)
def test_nobody_is_asked_for_what_is_no_did_of_the_protocol(world: World, did: str) -> None:
    async def work(directory: HttpDirectory, _clock: Clock) -> None:
        with pytest.raises(Unresolvable):
            await directory.resolve(did)

    run(world, work)
    assert world.asked.total() == 0


@pytest.mark.parametrize(
    ("did", "url"),
    [
        ("did:plc:abc", ("https://plc.directory/did:plc:abc", True)),
        ("did:web:Example.com", ("https://Example.com/.well-known/did.json", False)),
        ("did:web:localhost%3A2583", ("http://localhost:2583/.well-known/did.json", False)),
    ],
)
def test_where_a_document_is(did: str, url: tuple[str, bool]) -> None:
    assert document_url(did, "https://plc.directory/") == url


def test_captured_documents_with_keys_in_the_old_form_are_understood() -> None:
    for did, captured in json.loads((FIXTURES / "did_docs.json").read_text()).items():
        found = identity_of(did, captured)
        if did == LABELER:
            assert (found.key, found.labeler_key, found.pds) == (None, keys()[did], "")
            assert "no verification method" in found.problem
        else:
            assert (found.key, found.labeler_key, found.problem) == (keys()[did], None, "")
            assert found.pds == "http://localhost:2583"
            assert found.handle.endswith(".test")


GOOD = document("did:plc:x", ALICE.key.did_key(), "https://pds.example/")


@pytest.mark.parametrize(
    ("changes", "key", "pds", "handle", "problem"),
    [
        pytest.param({}, ALICE.key, "https://pds.example", "x.test", "", id="all there"),
        pytest.param({"id": "did:plc:y"}, None, "", "", "the document is of 'did:plc:y'", id="another's"),
        pytest.param(
            {"alsoKnownAs": [5, "at://no handle", "at://B.test"]},
            ALICE.key, "https://pds.example", "b.test", "", id="handles",
        ),
        pytest.param({"service": []}, ALICE.key, "", "x.test", "no service", id="no host"),
        pytest.param({"service": 5}, ALICE.key, "", "x.test", "services", id="services that are none"),
        pytest.param(
            {"service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "file:///x"}]},
            ALICE.key, "", "x.test", "its host", id="a host that is none",
        ),
        pytest.param({"verificationMethod": []}, None, "https://pds.example", "x.test", "key_absent", id="no key"),
    ],
)  # fmt: skip
def test_what_a_document_lacks_is_its_problem(
    changes: dict[str, object], key: PublicKey | None, pds: str, handle: str, problem: str
) -> None:
    found = identity_of("did:plc:x", {**GOOD, **changes})
    assert (found.key, found.pds, found.handle) == (key, pds, handle)
    assert found.problem.startswith(problem)
