"""Captured streams from a server on loopback into Kafka, by the roles: records, cursors, notices."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trustme
from aiohttp import web

from producers.atproto.hosts import host_of
from producers.checkpoints import read_checkpoints
from tallystick.contracts.atproto import (
    COMMITS,
    FIREHOSE_KIND,
    IDENTITIES,
    LABELS,
    LABELS_KIND,
    NOTICES,
    Account,
    Commit,
    Fetched,
    Label,
    Notice,
    NoticeKind,
    RepositoryEvent,
    Sync,
    decode_label,
    decode_notice,
    decode_repository_event,
    stream_source_id,
)
from tallystick.contracts.dead_letters import decode as decode_letter
from tallystick.contracts.measures import Sample
from tallystick.contracts.sources import Checkpoint
from tallystick.contracts.stages import Started, decode_event
from tallystick.contracts.topics import DEAD_LETTERS, STAGES, Topic
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tallystick.supervision.restarting import CONFIGURATION_CODE
from tests.atproto_server import Server, close, send, serving
from tests.atproto_world import FIXTURES, frames
from tests.plugins.services import apart
from tests.support import ROLE, environment, eventually

DOCUMENTS = json.loads((FIXTURES / "did_docs.json").read_text())
LAST = 231
OTHER_LAST = 10


@pytest.fixture(scope="module")
def place(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with apart(servers, home=tmp_path_factory.mktemp("streams")) as settings:
        yield settings


def values(settings: Settings, topic: Topic) -> list[bytes]:
    return [record.value() or b"" for record in read_whole(settings, settings.kafka.topic(topic), client_id="test")]


def repository_events(settings: Settings, server: Server) -> list[RepositoryEvent]:
    events = [decode_repository_event(value) for value in values(settings, COMMITS)]
    return [event for event in events if event.host == host_of(server.url).name]


def notices(settings: Settings, server: Server) -> list[Notice]:
    found = [decode_notice(value) for value in values(settings, NOTICES)]
    return [notice for notice in found if notice.host == host_of(server.url).name]


def checkpoint(settings: Settings, server: Server, kind: str = FIREHOSE_KIND) -> Checkpoint | None:
    return read_checkpoints(settings).get(stream_source_id(kind, host_of(server.url).name))


def position(settings: Settings, server: Server, kind: str = FIREHOSE_KIND) -> int:
    found = checkpoint(settings, server, kind)
    return found.position if found else 0


@contextmanager
def role(
    settings: Settings, server: Server, *arguments: str, name: str = "firehose"
) -> Iterator[subprocess.Popen[str]]:
    """Run a role as a process while the block runs, then stop it; it must come to its end by itself, and soon."""
    told = {
        **environment(settings),
        "TALLY_ATPROTO__PLC_URL": server.http,
        "TALLY_ATPROTO__CHECKPOINT_SECONDS": "0.1",
        "TALLY_ATPROTO__RECONNECT_MAX_SECONDS": "0.1",
    }
    command = [*ROLE, f"atproto-{name}", "--host", server.url, *arguments]
    with subprocess.Popen(command, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


def test_all_that_was_captured_arrives_and_a_stop_in_the_middle_loses_nothing(place: Settings) -> None:
    server = Server(frames("repos.bin"), pace=0.005)
    server.documents = DOCUMENTS
    with serving(server):
        with role(place, server, "--from", "oldest") as process:
            eventually(lambda: position(place, server), until=lambda at: at > 20)
        assert process.returncode == 143
        stopped_at = position(place, server)
        assert stopped_at < LAST, "it was over before it could be stopped"
        with role(place, server) as process:
            eventually(lambda: position(place, server), until=lambda at: at == LAST)
            process.terminate()
            output, log = process.communicate(timeout=30)
    assert server.cursors == ["0", str(stopped_at)]
    events = repository_events(place, server)
    assert Counter(type(event) for event in events) == {Commit: 209, Sync: 4, Account: 9}, "each once"
    assert sum(isinstance(event, Commit) and event.prev_data != "" for event in events) == 206
    for did in {event.did for event in events}:
        seqs = [event.seq for event in events if event.did == did and not isinstance(event, Fetched)]
        assert seqs == sorted(seqs), "in the order of the stream"
    assert values(place, DEAD_LETTERS) == [], "213 signatures hold, 206 trees lead back"
    assert len(values(place, IDENTITIES)) == 5
    assert [(notice.kind, notice.before, notice.after) for notice in notices(place, server)] == [
        (NoticeKind.GAP, 225, 230)
    ]
    known = checkpoint(place, server)
    assert known is not None
    assert (known.lines, known.events, known.dead, known.attempt) == (227, 227, 0, 1)
    assert known.ends[COMMITS.name].keys() <= set(range(place.kafka.partitions))
    samples = last_measures(output)
    assert samples["tally_atproto_acknowledged_seq", ""] == LAST
    assert samples["tally_atproto_frames_total", "commit"] > 0
    assert samples["tally_atproto_identities_resolved_total", ""] > 0
    assert '"role ended"' in log
    started = [decode_event(value) for value in values(place, STAGES)]
    reaches = [event.reach for event in started if isinstance(event, Started) and event.source == known.source]
    assert len(reaches) >= 2
    assert all(reach is not None and reach.position <= reach.end for reach in reaches)


def last_measures(output: str) -> dict[tuple[str, str], float]:
    """Return what was measured last, by name and type of frame."""
    (*_, last) = (msgspec.convert(json.loads(line)["measures"], list[Sample]) for line in output.splitlines())
    return {(sample.name, sample.labels.get("type", "")): sample.value for sample in last}


def test_all_50_labels_of_50_arrive(place: Settings) -> None:
    server = Server(frames("labels.bin"))
    server.documents = DOCUMENTS
    with serving(server), role(place, server, name="labeler"):
        eventually(lambda: position(place, server, LABELS_KIND), until=lambda at: at == 59)
    labels: list[Label] = [decode_label(value) for value in values(place, LABELS)]
    assert len({(label.identity, label.cts, label.sig) for label in labels}) == len(labels) == 50
    assert letters(place, server, LABELS_KIND) == []
    assert {notice.kind for notice in notices(place, server)} == {NoticeKind.GAP}


def letters(settings: Settings, server: Server, kind: str = FIREHOSE_KIND) -> list[tuple[str, int]]:
    source = stream_source_id(kind, host_of(server.url).name)
    found = [decode_letter(value) for value in values(settings, DEAD_LETTERS)]
    return [(letter.reason, letter.position) for letter in found if letter.source == source]


def test_every_control_frame_has_its_outcome(place: Settings) -> None:
    captured = {path.name[:-7]: list(frames(path.name[:-3])) for path in Path(FIXTURES).glob("*_*.bin.gz")}
    server = Server(captured["err_neg_cursor"])
    server.documents = DOCUMENTS

    async def refuse_what_is_done(response: web.WebSocketResponse, _: web.Request) -> None:
        # A stream that ends lets go of the events at which it still is.
        await asyncio.to_thread(eventually, lambda: position(place, server), until=lambda at: at == OTHER_LAST)
        for frame in captured["err_future_cursor"]:
            await response.send_bytes(frame)

    server.scripts.extend(
        [
            send(*captured["err_neg_cursor"][:4], *captured["err_bad_cursor"], then=close(1008, "InternalServerError")),
            send(*captured["info_outdated_cursor"], then=refuse_what_is_done),
        ]
    )
    with serving(server):
        with role(place, server, "--from", "oldest") as process:
            process.wait(90)
        assert process.returncode == CONFIGURATION_CODE
        assert [(n.kind, n.before, n.after) for n in notices(place, server)] == [
            (NoticeKind.DISCONNECTED, 4, 0),
            (NoticeKind.OUTDATED_CURSOR, 4, 10),
            (NoticeKind.FUTURE_CURSOR, 10, 0),
        ]
        assert server.cursors == ["0", "4"]
        assert position(place, server) == OTHER_LAST
        # Of the accounts of these frames there are no documents.
        assert letters(place, server) == [("identity_unresolved", seq) for seq in (3, 4, 10)]


def test_a_labelers_refusal_of_a_cursor_has_the_same_outcome(place: Settings) -> None:
    server = Server()
    server.scripts.append(send(*frames("labels_err_future_cursor.bin"), then=close(1008, "FutureCursor")))
    with serving(server):
        with role(place, server, "--from", "1000000", name="labeler") as process:
            process.wait(30)
        assert process.returncode == CONFIGURATION_CODE
        assert [(n.stream, n.kind, n.before, n.after) for n in notices(place, server)] == [
            ("labels", NoticeKind.FUTURE_CURSOR, 1_000_000, 0)
        ]
        assert server.cursors == ["1000000"]
        assert letters(place, server, LABELS_KIND) == []


def test_a_host_with_a_certificate_of_a_private_authority_is_followed_where_that_is_trusted(
    place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, trusted = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    server = Server(list(frames("repos.bin"))[:20])
    server.documents = DOCUMENTS
    server.certify(authority)
    assert server.url.startswith("wss:")
    with serving(server), role(place, server, "--from", "oldest"):
        last = eventually(lambda: position(place, server), until=lambda at: at >= 20)
    assert last == 20
    assert notices(place, server) == []
    assert letters(place, server) == [], "keys were asked for, and came, by https"


def test_a_consumer_that_was_too_slow_goes_on(place: Settings) -> None:
    large, too_slow = frames("err_consumer_too_slow.bin")
    server = Server([large])
    server.documents = DOCUMENTS
    server.scripts.append(send(large, too_slow, then=close(1008, "ConsumerTooSlow")))
    with serving(server), role(place, server, "--from", "oldest"):
        eventually(lambda: notices(place, server), until=lambda found: len(found) == 1)
        eventually(lambda: server.cursors, until=lambda cursors: cursors == ["0", "39"])
    (notice,) = notices(place, server)
    assert (notice.kind, notice.before) == (NoticeKind.TOO_SLOW, 39)
