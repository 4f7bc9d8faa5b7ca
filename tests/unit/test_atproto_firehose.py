"""What becomes of each message of `subscribeRepos` and `subscribeLabels`: records, dead letters, fetches, order."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import pytest

from producers.atproto.directory import Identity
from producers.atproto.live.measures import Measure
from producers.atproto.protocol.messages import LabelsMessage, read_message
from tallystick.contracts.atproto import (
    ACCOUNTS,
    COMMITS,
    FETCHES,
    IDENTITIES,
    LABELS,
    LABELS_KIND,
    Account,
    Commit,
    Fetch,
    Label,
    RepositoryEvent,
    Sync,
)
from tallystick.contracts.atproto import Identity as IdentityRecord
from tests.atproto_world import LABELER, Repository, cbor, frame, frames
from tests.stream_world import KnownDirectory, World, identities

HOST = "ws://host.test"


def play(
    messages: Iterable[bytes],
    *,
    directory: Callable[[], KnownDirectory] = lambda: KnownDirectory(identities()),
    meanwhile: Callable[[World, KnownDirectory], Awaitable[None]] | None = None,
    **options: object,
) -> World:
    """Let frames arrive, do something, then wait until nothing waits for an identity."""

    async def run() -> World:
        known = directory()
        world = World(HOST, directory=known, **options)  # type: ignore[arg-type]
        for message in messages:
            await world.arrivals.take(message)
        if meanwhile is not None:
            await meanwhile(world, known)
        for _ in range(200):
            await asyncio.sleep(0)
        world.handler.check()
        world.stream.settle(1.0)
        return world

    return asyncio.run(run())


def knowing(*repositories: Repository, **more: Identity) -> Callable[[], KnownDirectory]:
    known = {repository.did: Identity(did=repository.did, key=repository.key) for repository in repositories}
    return lambda: KnownDirectory({**known, **more})


def commits(world: World) -> list[Commit]:
    return [event for event in events(world) if isinstance(event, Commit)]


def events(world: World) -> list[RepositoryEvent]:
    return world.sent(COMMITS, RepositoryEvent)  # type: ignore[arg-type]


def post(repository: Repository, number: int = 1, **fields: object) -> dict[str, object]:
    return repository.commit({f"app.bsky.feed.post/{number}": {"text": f"post {number}", **fields}})


def test_all_that_was_captured_of_a_host_becomes_records() -> None:
    world = play(frames("repos.bin"))
    found = Counter(type(event).__name__ for event in events(world))
    assert found == {"Commit": 209, "Sync": 4, "Account": 9}
    assert len(world.sent(ACCOUNTS, Account)) == 9
    assert len(world.sent(IDENTITIES, IdentityRecord)) == 5
    assert world.letters() == []
    last = world.checkpoints()[-1]
    assert (last.lines, last.events, last.dead) == (227, 227, 0)
    for sent in world.publisher.of(COMMITS.name):
        assert msgspec.json.decode(sent.value)["did"].encode() == sent.key


def test_all_that_was_captured_of_a_labeler_becomes_records() -> None:
    world = play(frames("labels.bin"), kind=LABELS_KIND)
    labels = world.sent(LABELS, Label)
    assert (len(labels), {label.src for label in labels}, world.letters()) == (50, {LABELER}, [])
    assert [sent.key.decode() for sent in world.publisher.of(LABELS.name)] == [label.uri for label in labels]


def test_messages_of_an_account_wait_for_its_identity_in_order_and_others_go_on() -> None:
    slow, quick = Repository("slow"), Repository("quick")
    order = [(1, slow), (2, quick), (3, slow), (5, quick), (6, slow)]
    messages = [frame("#commit", {**post(repository, seq), "seq": seq}) for seq, repository in order]
    messages.insert(3, frame("#account", {"seq": 4, "did": slow.did, "active": True}))

    def directory() -> KnownDirectory:
        known = knowing(slow, quick)()
        known.remembered[quick.did] = known.known[quick.did]
        known.open.clear()
        return known

    async def meanwhile(world: World, known: KnownDirectory) -> None:
        await asyncio.sleep(0.01)
        world.stream.settle(1.0)
        assert [event.did for event in events(world)] == [quick.did] * 2
        assert world.stream.position == 0, "the cursor waits for the first"
        known.open.set()

    world = play(messages, directory=directory, meanwhile=meanwhile)
    of_slow = [event for event in events(world) if event.did == slow.did]
    assert [type(event) for event in of_slow] == [Commit, Commit, Account, Commit]
    assert world.stream.position == 6


def test_a_signature_that_does_not_hold_has_the_identity_asked_for_anew_once() -> None:
    repository, impostor = Repository("honest"), Repository("impostor")
    old = Identity(did=repository.did, key=impostor.key)

    def directory() -> KnownDirectory:
        return KnownDirectory({repository.did: Identity(did=repository.did, key=repository.key)}, {repository.did: old})

    asked: list[tuple[str, bool]] = []

    async def meanwhile(_world: World, known: KnownDirectory) -> None:
        await asyncio.sleep(0.01)
        asked.extend(known.asked)

    world = play([frame("#commit", post(repository))], directory=directory, meanwhile=meanwhile)
    assert asked == [(repository.did, True)]
    assert (len(commits(world)), world.letters()) == (1, [])


def test_one_that_still_does_not_hold_is_a_dead_letter_and_others_do_not_ask_again_at_once() -> None:
    repository, impostor = Repository("honest"), Repository("impostor")
    messages = [frame("#commit", {**post(repository, seq), "seq": seq}) for seq in (1, 2, 3)]
    asked: list[tuple[str, bool]] = []

    async def meanwhile(_world: World, known: KnownDirectory) -> None:
        await asyncio.sleep(0.01)
        asked.extend(known.asked)

    wrong = Identity(did=repository.did, key=impostor.key)
    world = play(
        messages,
        directory=lambda: KnownDirectory({repository.did: wrong}, {repository.did: wrong}),
        meanwhile=meanwhile,
    )
    assert asked == [(repository.did, True)]
    assert [(letter.reason, letter.position, letter.payload) for letter in world.letters()] == [
        ("signature_wrong", seq, message) for seq, message in enumerate(messages, 1)
    ]
    assert world.sent(FETCHES, Fetch) == []
    assert (world.stream.position, world.stream.measures.value(Measure.REJECTED, reason="signature_wrong")) == (3, 3)


def test_an_identity_message_has_the_next_commit_ask_anew() -> None:
    repository = Repository("honest")
    identity = Identity(did=repository.did, key=repository.key)
    messages = [
        frame("#commit", {**post(repository, 1), "seq": 1}),
        frame("#identity", {"seq": 2, "did": repository.did}),
        frame("#commit", {**post(repository, 3), "seq": 3}),
        frame("#commit", {**post(repository, 4), "seq": 4}),
    ]
    asked: list[tuple[str, bool]] = []

    async def meanwhile(_world: World, known: KnownDirectory) -> None:
        await asyncio.sleep(0.01)
        asked.extend(known.asked)

    world = play(
        messages,
        directory=lambda: KnownDirectory({repository.did: identity}, {repository.did: identity}),
        meanwhile=meanwhile,
    )
    assert asked == [(repository.did, True)]
    assert [commit.seq for commit in commits(world)] == [1, 3, 4]


@pytest.mark.parametrize(
    ("known", "detail"),
    [
        pytest.param({}, "is nobody", id="no such DID"),
        pytest.param({"did": Identity(did="did:plc:honest", problem="key_absent")}, "key_absent", id="no key"),
    ],
)
def test_an_account_without_a_key_is_a_dead_letter(known: dict[str, Identity], detail: str) -> None:
    repository = Repository("honest")
    message = frame("#commit", post(repository))
    world = play([message], directory=lambda: KnownDirectory({identity.did: identity for identity in known.values()}))
    (letter,) = world.letters()
    assert (letter.reason, letter.payload) == ("identity_unresolved", message)
    assert detail in letter.detail
    assert world.stream.position == 1


def broken(repository: Repository) -> dict[str, object]:
    """A commit whose host says that the tree before was another one."""
    post(repository)
    body = post(repository, 2)
    return {**body, "prevData": body["commit"], "seq": 1}


@pytest.mark.parametrize("resync", ["known", "off"])
def test_a_commit_that_leaves_the_repository_unknown_has_it_fetched(resync: str) -> None:
    repository = Repository("honest")
    world = play([frame("#commit", broken(repository))], directory=knowing(repository), resync=resync)
    (letter,) = world.letters()
    assert letter.reason == "inversion_differs"
    fetches = [(fetch.did, fetch.why, fetch.rev) for fetch in world.sent(FETCHES, Fetch)]
    assert fetches == ([] if resync == "off" else [(repository.did, "inversion_differs", repository.rev)])


def test_so_does_one_that_is_too_big_whose_revision_nobody_has_checked() -> None:
    repository = Repository("honest")
    world = play([frame("#commit", {**post(repository), "tooBig": True})], directory=knowing(repository))
    assert [(fetch.why, fetch.rev) for fetch in world.sent(FETCHES, Fetch)] == [("too_big", "")]


def test_commits_of_an_inactive_account_are_refused_until_it_is_active_or_something_was_missed() -> None:
    repository = Repository("honest")

    def account(seq: int, active: bool) -> bytes:
        return frame("#account", {"seq": seq, "did": repository.did, "active": active, "status": "deactivated"})

    messages = [account(1, active=False), frame("#commit", {**post(repository, 2), "seq": 2})]
    messages += [account(3, active=True), frame("#commit", {**post(repository, 4), "seq": 4})]
    messages += [account(5, active=False), frame("#commit", {**post(repository, 9), "seq": 9})]
    world = play(messages, directory=knowing(repository))
    assert [letter.position for letter in world.letters()] == [2]
    assert [commit.seq for commit in commits(world)] == [4, 9]


@pytest.mark.parametrize(("validation", "sent"), [("off", 1), ("hash", 1), ("signature", 1), ("inductive", 0)], ids=str)
def test_as_much_is_checked_as_the_setting_says(validation: str, sent: int) -> None:
    repository = Repository("honest")
    world = play([frame("#commit", broken(repository))], directory=knowing(repository), validation=validation)
    assert len(commits(world)) == sent


def test_without_signatures_the_directory_is_not_asked() -> None:
    repository = Repository("honest")
    world = play([frame("#commit", post(repository))], directory=lambda: KnownDirectory({}), validation="hash")
    assert len(commits(world)) == 1


def test_operations_that_are_not_kept_leave_their_commit_which_stays() -> None:
    repository = Repository("honest")
    changes = {
        "app.bsky.feed.post/1": {"langs": ["de"]},
        "app.bsky.feed.post/2": {"langs": ["en"]},
        "app.bsky.feed.like/3": {"langs": ["de"]},
    }
    messages = [frame("#commit", repository.commit(changes))]
    messages.append(frame("#commit", {**repository.commit({"app.bsky.feed.like/3": None}), "seq": 2}))
    messages.append(frame("#commit", {**repository.commit({"app.bsky.feed.post/2": None}), "seq": 3}))
    world = play(messages, directory=knowing(repository), collections=("app.bsky.feed.post",), languages=("de",))
    assert [[op.path for op in commit.ops] for commit in commits(world)] == [
        ["app.bsky.feed.post/1"],
        [],
        ["app.bsky.feed.post/2"],
    ]
    measures = world.stream.measures
    assert (
        measures.value(Measure.FILTERED, reason="collection"),
        measures.value(Measure.FILTERED, reason="language"),
    ) == (2, 1)


def test_an_account_that_is_not_kept_leaves_as_a_whole() -> None:
    one, other = Repository("one"), Repository("other")
    messages = [frame("#commit", {**post(one), "seq": 1}), frame("#commit", {**post(other), "seq": 2})]
    messages += [frame("#account", {"seq": 3, "did": other.did, "active": False})]
    messages += [frame("#identity", {"seq": 4, "did": other.did})]
    world = play(messages, directory=knowing(one, other), dids=(one.did,))
    assert [event.did for event in events(world)] == [one.did]
    assert (world.sent(ACCOUNTS, Account), world.sent(IDENTITIES, IdentityRecord)) == ([], [])
    assert (world.stream.position, world.checkpoints()[-1].blank) == (4, 3)


@pytest.mark.parametrize(
    ("time", "live"),
    [
        pytest.param("2026-11-23T04:07:30.000Z", True, id="now"),
        pytest.param("2026-11-23T04:07:00.000Z", False, id="replayed"),
        pytest.param("nonsense", True, id="no time"),
    ],
)
def test_a_commit_is_live_by_its_hosts_time(time: str, live: bool) -> None:
    repository = Repository("honest")
    world = play([frame("#commit", {**post(repository), "time": time})], directory=knowing(repository))
    assert commits(world)[0].live is live


def test_a_sync_is_checked_as_well() -> None:
    body = next(message for message in frames("repos.bin") if message[:12].find(b"#sync") > 0)
    world = play([body], directory=lambda: KnownDirectory({}))
    assert [letter.reason for letter in world.letters()] == ["identity_unresolved"]
    world = play([body])
    (sync,) = events(world)
    assert isinstance(sync, Sync)


def test_labels_are_checked_one_by_one() -> None:
    captured = [read_message(message) for message in frames("labels.bin")]
    good = [fields for message in captured if isinstance(message, LabelsMessage) for fields in message.labels][:3]
    forged = {**good[0], "val": "forged"}
    unknown = {**good[0], "src": "did:plc:nobody"}
    labels = [good[0], forged, {"src": "x"}, good[1], unknown, good[2]]
    messages = [frame("#labels", {"seq": 7, "labels": labels}), frame("#labels", {"seq": 8, "labels": []})]
    world = play(messages, kind=LABELS_KIND)
    assert len(world.sent(LABELS, Label)) == 3
    assert sorted((letter.reason, letter.payload) for letter in world.letters()) == sorted(
        [
            ("signature_wrong", cbor(forged)),
            ("field_unusable", cbor({"src": "x"})),
            ("identity_unresolved", cbor(unknown)),
        ]
    )
    last = world.checkpoints()[-1]
    assert (last.position, last.lines, last.events, last.dead, last.blank) == (8, 7, 3, 3, 1)


def test_labels_below_the_level_of_signatures_are_not_checked() -> None:
    world = play(frames("labels.bin"), kind=LABELS_KIND, validation="hash", directory=lambda: KnownDirectory({}))
    assert len(world.sent(LABELS, Label)) == 50


def test_what_goes_wrong_in_a_lane_is_not_swallowed() -> None:
    class Broken(KnownDirectory):
        async def resolve(self, did: str, *, fresh: bool = False) -> Identity:
            raise RuntimeError(f"a defect, {did}, {fresh}")

    repository = Repository("honest")
    with pytest.raises(RuntimeError, match="a defect"):
        play([frame("#commit", post(repository))], directory=lambda: Broken({}))
