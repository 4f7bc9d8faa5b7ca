"""Kill a firehose with SIGKILL again and again: nothing is missing in the end, and no cursor was ever ahead of it."""

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from producers.atproto.hosts import host_of
from producers.checkpoints import read_checkpoints
from tallystick.contracts.atproto import (
    COMMITS,
    FIREHOSE_KIND,
    Account,
    Commit,
    decode_repository_event,
    stream_source_id,
)
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tests.atproto_server import Server, serving
from tests.atproto_world import Repository, frame
from tests.support import ROLE, environment, eventually

EVENTS, ACCOUNTS, KILLS = 2_000, 8, 5


def server_of(repositories: list[Repository]) -> Server:
    """A host with commits of all repositories, and a word on each account in between, at 500 events a second."""
    frames = []
    for seq in range(1, EVENTS + 1):
        repository = repositories[seq % len(repositories)]
        if seq % 4:
            body: dict[str, object] = {"seq": seq, "did": repository.did, "active": True}
            frames.append(frame("#account", body))
        else:
            frames.append(frame("#commit", {**repository.commit({f"app.test.post/{seq}": {"seq": seq}}), "seq": seq}))
    server = Server(frames, inclusive=True, pace=0.002)
    server.documents = {repository.did: repository.document() for repository in repositories}
    return server


@contextmanager
def firehose(settings: Settings, server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """Run the role as a process while the block runs, then kill it."""
    told = {
        **environment(settings),
        "TALLY_ATPROTO__PLC_URL": server.http,
        "TALLY_ATPROTO__CHECKPOINT_SECONDS": "0.05",
    }
    command = [*ROLE, "atproto-firehose", "--host", server.url, "--from", "oldest"]
    with subprocess.Popen(command, env=told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def position(settings: Settings, server: Server) -> int:
    found = read_checkpoints(settings).get(stream_source_id(FIREHOSE_KIND, host_of(server.url).name))
    return found.position if found else 0


def stored(settings: Settings) -> list[Commit | Account]:
    """Return what Kafka holds, in order per account."""
    records = read_whole(settings, settings.kafka.topic(COMMITS), client_id="test")
    events = [decode_repository_event(record.value() or b"") for record in records]
    return [event for event in events if isinstance(event, Commit | Account)]


def test_nothing_is_missing_however_often_the_process_is_killed(settings: Settings) -> None:
    repositories = [Repository(f"account{number}") for number in range(ACCOUNTS)]
    with serving(server_of(repositories)) as server:
        for _ in range(KILLS):
            before = position(settings, server)
            with firehose(settings, server) as victim:
                eventually(lambda: position(settings, server), until=lambda at, before=before: at >= before + 50)  # type: ignore[misc]
                victim.kill()
                victim.wait(30)
            reached = position(settings, server)
            assert reached < EVENTS, "it was over before it could be killed"
            assert {event.seq for event in stored(settings)} >= set(range(1, reached + 1)), "the cursor was ahead"
        with firehose(settings, server):
            eventually(lambda: position(settings, server), until=lambda at: at == EVENTS)
    events = stored(settings)
    assert {event.seq for event in events} == set(range(1, EVENTS + 1))
    assert [cursor for cursor in server.cursors if cursor == "0"] == ["0"], "each went on where the last one was"
    assert list(read_whole(settings, settings.kafka.topic(DEAD_LETTERS), client_id="test")) == []
    first_seen: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.seq not in first_seen[event.did]:
            first_seen[event.did].append(event.seq)
    assert all(seqs == sorted(seqs) for seqs in first_seen.values()), "in the order of the stream"
