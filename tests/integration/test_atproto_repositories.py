"""The repositories agent on a real Kafka: whatever is killed in between, a gap is noticed, fetched and joined."""

from collections.abc import Sequence

from tallystick.contracts import atproto, topics
from tallystick.contracts.atproto import Commit, Fetched, RepositoryState
from tallystick.contracts.tids import tid_at
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.integration.test_agents import agents, newest
from tests.support import eventually

HOST = "https://relay.example"
DIDS = [f"did:plc:{number:024d}" for number in range(200)]
TORN = DIDS[::10]
LENGTH, MISSING = 20, 7


def commit(did: str, number: int) -> Commit:
    before = f"bafy{number - 1}" if number > 1 else atproto.EMPTY_TREE
    since = tid_at(number - 1) if number > 1 else ""
    return Commit(did, tid_at(number), HOST, "bafycommit", f"bafy{number}", since=since, prev_data=before)


def send(settings: Settings, events: Sequence[Commit | Fetched]) -> None:
    publisher = Publisher(settings, client_id="test")
    for event in events:
        publisher.send(settings.kafka.topic(atproto.COMMITS), key=event.did.encode(), value=atproto.encode(event))
    publisher.flush()


def standings(settings: Settings) -> dict[str, tuple[str, str]]:
    found = map(atproto.decode_repository, newest(settings, atproto.REPOSITORIES).values())
    return {repository.did: (repository.state.value, repository.rev) for repository in found}


def asked_for(settings: Settings) -> set[tuple[str, str, str]]:
    topic = settings.kafka.topic(atproto.FETCHES)
    found = (atproto.decode_fetch(message.value() or b"") for message in read_whole(settings, topic, client_id="look"))
    return {(fetch.did, fetch.rev, fetch.why) for fetch in found}


def test_repositories_are_joined_again_though_the_agents_are_killed(kafka_settings: Settings) -> None:
    history = [
        commit(did, number) for number in range(1, LENGTH + 1) for did in DIDS if number != MISSING or did not in TORN
    ]
    half = len(history) // 2
    publisher = Publisher(kafka_settings, client_id="test")
    publisher.send(kafka_settings.kafka.topic(atproto.COMMITS), key=DIDS[0].encode(), value=b"\xff no JSON")
    publisher.flush()
    with agents(kafka_settings):
        send(kafka_settings, history[:half])
        eventually(lambda: standings(kafka_settings))
    with agents(kafka_settings):
        send(kafka_settings, [*history[half:], *history[:half]])
        torn = {did: (RepositoryState.FETCHING.value, tid_at(MISSING - 1)) for did in TORN}
        whole = {did: (RepositoryState.SYNCHRONISED.value, tid_at(LENGTH)) for did in DIDS}
        eventually(lambda: standings(kafka_settings), until=lambda found: found == whole | torn)
        # Who was killed may ask once more, and then for the newest revision that is known by that time.
        asked = asked_for(kafka_settings)
        assert {(did, why) for did, _, why in asked} == {(did, "since_differs") for did in TORN}
        assert {(did, tid_at(MISSING + 1), "since_differs") for did in TORN} <= asked
        at = MISSING + 3
        send(
            kafka_settings,
            [Fetched(did, HOST, 1, "2026-11-26T00:00:00.000000Z", tid_at(at), "bafy", f"bafy{at}") for did in TORN],
        )
        eventually(lambda: standings(kafka_settings), until=lambda found: found == whole)
    assert DIDS[0].encode() in newest(kafka_settings, topics.DEAD_LETTERS)
