"""Whatever happens to files and readers: every event arrives, none counts twice, and each claim is what arrived."""

import bz2
import gzip
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cowrie.formats import Format
from producers.progress import FileOutcome
from tallystick.contracts.cowrie import UnreadableLine, read_envelope
from tallystick.contracts.stages import Claimed
from tests.reading_world import World

NAMES = ("a.json", "b.json", "c.json")
LINES = [
    b'{"eventid":"cowrie.%d","timestamp":"2026-11-23T03:43:4%d.000000Z","session":"s%d"}' % (n, n % 10, n % 3)
    for n in range(12)
]
PIECES = st.sampled_from([*(line + b"\n" for line in LINES), *LINES[:3], b"\n", b"junk\r\n", b"ju", b"x" * 150 + b"\n"])
CONTENT = st.lists(PIECES, max_size=15).map(b"".join)
ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), CONTENT),
    st.tuples(st.just("append"), st.sampled_from(NAMES), CONTENT),
    st.tuples(st.just("cut"), st.sampled_from(NAMES), st.integers(0, 300)),
    st.tuples(st.just("copy"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("concatenate"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(b"")),
)
DEATHS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=3)
ROUND = st.tuples(st.lists(ACTIONS, min_size=1, max_size=4), DEATHS)
COMPRESSIONS: st.SearchStrategy[Callable[[bytes], bytes]] = st.sampled_from([bytes, gzip.compress, bz2.compress])


class Files:
    """Model files: their content is known, and how it is written is drawn."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def act(self, action: str, name: str, argument: bytes | int | str) -> None:
        before = self.content.get(name, b"")
        match action, argument:
            case "write", bytes(data):
                self.content[name] = data
            case "append", bytes(data):
                self.content[name] = before + data
            case "cut", int(size):
                self.content[name] = before[:size]
            case "copy", str(other):
                self.content[name] = self.content.get(other, b"")
            case "concatenate", str(other):
                self.content[name] = before + self.content.get(other, b"")
            case "remove", _:
                self.content.pop(name, None)


def lines_of(content: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in content.split(b"\n") if line.strip()]


def is_event(line: bytes) -> bool:
    try:
        read_envelope(line)
    except UnreadableLine:
        return False
    return len(line) <= 120


@settings(max_examples=100, deadline=None)
@given(rounds=st.lists(ROUND, min_size=1, max_size=4), data=st.data())
def test_every_run_ends_in_claims_that_tally(
    rounds: list[tuple[list[tuple[str, str, bytes]], list[tuple[int, int]]]], data: st.DataObject
) -> None:
    world, files = World(window_bytes=130, max_line_bytes=120, max_events_per_record=2), Files()
    with tempfile.TemporaryDirectory() as folder:
        for actions, deaths in rounds:
            for action in actions:
                files.act(*action)
            paths = []
            for name, content in files.content.items():
                path = Path(folder) / name
                path.write_bytes(data.draw(COMPRESSIONS)(content))
                os.utime(path, (1_700_000_000, 1_700_000_000))
                paths.append(path)
            for records, kept in deaths:
                world.run(*paths, records=records, kept=kept, form=Format.LINES)
            check(world, files, world.run(*paths, form=Format.LINES))


def check(world: World, files: Files, outcomes: list[FileOutcome]) -> None:
    assert {outcome.state for outcome in outcomes} <= {"claimed"}
    claims = {claim.source: claim for claim in world.stage_events(Claimed)}
    for outcome, content in zip(outcomes, files.content.values(), strict=True):
        assert outcome.counts["bytes"] == len(content)
        assert claims[outcome.source].counts["bytes"] >= len(content)
    for claim in claims.values():
        counts = claim.counts
        assert counts["lines"] == counts["events"] + counts["dead"] + counts["blank"]
        assert world.observed(claim.source) == (counts["events"], counts["dead"])
        assert world.ends_hold(claim)
    sent = {line for _, _, line in world.events()}
    letters = {letter.payload.removesuffix(b"\r") for letter in world.letters()}
    for content in files.content.values():
        for line in lines_of(content):
            assert arrived(line, sent, letters)


def arrived(line: bytes, sent: set[bytes], letters: set[bytes]) -> bool:
    """A line arrives whole; or in two parts, where the first was taken as an event before the line was finished."""
    return line in (sent if is_event(line) else letters) or any(
        line.startswith(event) and arrived(line[len(event) :], sent, letters) for event in sent
    )
