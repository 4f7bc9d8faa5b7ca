"""A backfill for tests: the roles as processes against a local host, and what they have left in Kafka."""

import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import msgspec

from producers.atproto.backfill.fetcher import GROUP
from tallystick.cli.atproto.passing import Course, Hop
from tallystick.contracts import atproto, slices, stages
from tallystick.contracts.atproto import COMMITS, FETCHES, SNAPSHOTS, End, Fetch, Fetched, Stored
from tallystick.contracts.stages import Claimed
from tallystick.contracts.topics import STAGES
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.groups import Group
from tallystick.settings import Settings
from tests.atproto_hosts import World, root_of
from tests.atproto_world import Repository
from tests.support import ROLE, environment


def people(world: World, number: int, *, prefix: str = "account") -> list[Repository]:
    """Let so many accounts be known to a host, each with a few records."""
    made = []
    for count in range(number):
        repository = Repository(f"{prefix}{count:03}")
        repository.commit({f"app.test/{count:03}x{one}": {"n": one, "of": count} for one in range(count % 7 + 1)})
        world.add(repository)
        made.append(repository)
    return made


@contextmanager
def role(settings: Settings, world: World, *arguments: str) -> Iterator["Running"]:
    """Give a running role; it is told to stop in the end, if it still runs."""
    env = {
        **environment(settings),
        "TALLY_ATPROTO__PLC_URL": world.url,
        "TALLY_ATPROTO__PRIVATE_HOSTS": "true",
        "TALLY_ATPROTO__CHECKPOINT_SECONDS": "0.01",
    }
    with (
        TemporaryFile("a+") as said,
        subprocess.Popen([*ROLE, *arguments], env=env, stdout=said, stderr=said) as process,
    ):
        running = Running(process, said)
        yield running
        running.stop()


class Running:
    """A role that was started."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[str]) -> None:
        self.process, self._said = process, said

    def said(self) -> list[dict[str, Any]]:
        """Return the whole lines of JSON that it has written so far."""
        self._said.seek(0)
        lines = self._said.read().splitlines(keepends=True)
        return [msgspec.json.decode(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def outcomes(self) -> list[dict[str, Any]]:
        """Return the outcomes among them."""
        return [line["outcome"] for line in self.said() if "outcome" in line]

    def stop(self) -> int:
        """Tell it to stop, if it has not ended, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)

    def ended(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self.process.wait(120)


def fetches(settings: Settings) -> list[Fetch]:
    """Return every request so far."""
    found = read_whole(settings, settings.kafka.topic(FETCHES), client_id="test")
    return [atproto.decode_fetch(value) for message in found if (value := message.value() or b"").startswith(b"{")]


def all_done(settings: Settings) -> bool:
    """Return whether the fetchers have committed every request so far: what some were killed at is repeated by then."""
    group = Group(settings, GROUP, FETCHES)
    try:
        return Course([Hop("the fetchers", group.ends, group.passed)]).look()
    finally:
        group.close()


def fetched(settings: Settings) -> list[Fetched]:
    """Return every end of a fetch so far."""
    found = read_whole(settings, settings.kafka.topic(COMMITS), client_id="test")
    events = [atproto.decode_repository_event(message.value() or b"") for message in found]
    return [event for event in events if isinstance(event, Fetched)]


def claims(settings: Settings) -> dict[str, Claimed]:
    """Return the newest claim of each source."""
    found = read_whole(settings, settings.kafka.topic(STAGES), client_id="test")
    events = [stages.decode_event(message.value() or b"") for message in found]
    return {event.source: event for event in events if isinstance(event, Claimed)}


class Whole(msgspec.Struct):
    """The newest snapshot of a repository that has an end: its attempt, and its CIDs by path."""

    attempt: int
    records: dict[str, str]


def snapshots(settings: Settings) -> dict[str, Whole]:
    """Return the newest snapshot of each repository. Fails where lines of one are missing, or not in order."""
    lines: defaultdict[tuple[str, int], list[Stored | End]] = defaultdict(list)
    newest: dict[str, Whole] = {}
    for message in read_whole(settings, settings.kafka.topic(SNAPSHOTS), client_id="test"):
        headers = dict(message.headers() or ())
        found = slices.decode(message.value(), headers.items())
        attempt = int(headers["attempt"] or b"")
        mine = lines[found.source, attempt]
        assert list(found.positions) == list(range(len(mine), len(mine) + len(found.events)))
        mine += map(atproto.decode_snapshot_line, found.events)
        if isinstance(end := mine[-1], End):
            records = [line for line in mine if isinstance(line, Stored)]
            assert len(records) == end.records
            newest[found.source] = Whole(attempt, {f"{one.collection}/{one.rkey}": one.cid for one in records})
    return newest


def require_all(settings: Settings, repositories: Sequence[Repository]) -> None:
    """Require that the newest snapshot of each repository is what the account signed, and that it was claimed."""
    found, claimed = snapshots(settings), claims(settings)
    for repository in repositories:
        one = found[repository.did]
        assert set(one.records) == set(repository.records)
        claim = claimed[repository.did]
        assert (claim.run, claim.digest) == (one.attempt, root_of(repository))


def scratch_files(settings: Settings) -> list[Path]:
    """Return what fetchers have left on the disk."""
    return list((settings.home / "fetching").glob("*"))
