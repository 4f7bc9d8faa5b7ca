"""Bad input, by the real command: each case is stored faithfully or in the dead letters, and the rest is loaded.

One folder with a file for each case is loaded once; each test looks at what became of its own file.
"""

import bz2
import gzip
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from tallystick.contracts.dead_letters import PIECE_BYTES
from tallystick.settings import Settings
from tests.dumps import dump
from tests.loads import SUCCEEDED, Letter, Loaded, Row, letters, load_watched, old, shares, stored, verdicts
from tests.plugins.services import apart
from tests.support import tally, tally_here

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
SENSOR, UNNAMED = "bad input", "that of the command line"
NO_JSON, NO_OBJECT, UNFINISHED = "not JSON", "not a JSON object", "unfinished last line"


class Event(NamedTuple):
    """A line that becomes a row; with `payload` where the database can't hold it as it is."""

    line: bytes
    payload: dict[str, Any] | None = None


class Bad(NamedTuple):
    """A line that becomes a dead letter."""

    line: bytes
    reason: str


class Blank(NamedTuple):
    """A line that holds nothing."""

    line: bytes = b""


class Log(NamedTuple):
    """A file: its lines, each with what must become of it, and how they are written."""

    lines: Sequence[Event | Bad | Blank]
    start: bytes = b""
    end: bytes = b"\n"
    last_end: bytes = b"\n"
    pack: Callable[[bytes], bytes] = bytes

    def content(self) -> bytes:
        ends = [self.end] * (len(self.lines) - 1) + [self.last_end]
        return self.start + b"".join(line.line + end for line, end in zip(self.lines, ends, strict=bool(self.lines)))

    def positions(self) -> Iterator[tuple[int, Event | Bad | Blank]]:
        position = len(self.start)
        for line in self.lines:
            yield position, line
            position += len(line.line) + len(self.end)

    def rows(self) -> dict[int, Row]:
        return {position: row(line) for position, line in self.positions() if isinstance(line, Event)}

    def letters(self) -> list[Letter]:
        return [
            Letter(position, piece, line.reason, line.line[start : start + PIECE_BYTES])
            for position, line in self.positions()
            if isinstance(line, Bad)
            for piece, start in enumerate(range(0, len(line.line), PIECE_BYTES))
        ]

    def counts(self) -> dict[str, int]:
        kinds = [type(line) for line in self.lines]
        return {"lines": len(kinds), "events": kinds.count(Event), "dead_letters": kinds.count(Bad)}


def line(session: str | None, number: int = 0, **fields: object) -> bytes:
    named = {"eventid": "cowrie.x", "timestamp": f"2026-11-23T03:00:{number:02}.000000Z", "sensor": SENSOR}
    return json.dumps({**named, **({"session": session} if session else {}), **fields}).encode()


def good(session: str, number: int = 0) -> Event:
    return Event(line(session, number))


def row(event: Event) -> Row:
    if event.payload is None:
        fields = json.loads(event.line)
        return Row(fields.get("sensor", UNNAMED), fields.get("session", ""), fields["eventid"], fields, None)
    fields = event.payload
    return Row(fields["sensor"], fields["session"], fields["eventid"], fields, event.line)


def odd(session: str, number: int, field: bytes, shown: Any) -> Event:
    """An event with a field that no database can hold, and what is stored in its place."""
    template = line(session, number, input="?")
    return Event(template.replace(b'"?"', field), {**json.loads(template), "input": shown})


def around(session: str, *lines: Event | Bad | Blank) -> list[Event | Bad | Blank]:
    return [good(session, 1), *lines, good(session, 2)]


def junk() -> list[Bad]:
    """Random bytes, as lines."""
    found = random.Random(5).randbytes(8_000).split(b"\n")
    return [Bad(part.removesuffix(b"\r"), NO_JSON) for part in found[:-1] if part.strip()] + [
        Bad(b"\x00\xff\xfe\x80", UNFINISHED)
    ]


def members(content: bytes) -> bytes:
    """Three gzip members with padding after the last; a line lies across two of them."""
    return gzip.compress(content[:50]) + gzip.compress(b"") + gzip.compress(content[50:]) + bytes(512)


def without(name: str) -> bytes:
    fields = json.loads(line("s"))
    return json.dumps({key: value for key, value in fields.items() if key != name}).encode()


LOGS = {
    "an empty file": Log([]),
    "binary junk": Log(junk(), last_end=b""),
    "a line that is no JSON": Log(
        around("no json", Blank(), Blank(b"  \t"), Bad(b"Traceback (most recent call last):", NO_JSON))
    ),
    "JSON that is no object": Log(
        around("no object", *(Bad(text, NO_OBJECT) for text in (b"[]", b'"text"', b"17", b"null", b"true")))
    ),
    "no eventid": Log(around("no eventid", Bad(without("eventid"), "eventid is missing"))),
    "no timestamp": Log(around("no timestamp", Bad(without("timestamp"), "timestamp is missing"))),
    "no session": Log(around("no session", Event(line(None, 5)), Event(line(None, 6)))),
    "no sensor": Log(around("no sensor", Event(without("sensor")))),
    "an unknown eventid": Log([Event(line("unknown", eventid="honeytrap.never.heard.of"))]),
    "NUL, lone surrogates, invalid UTF-8, NaN": Log(
        around(
            "odd",
            odd("odd", 3, rb'"a\u0000b"', r"a\u0000b"),
            odd("odd", 4, rb'"a\ud800b\udc00"', r"a\ud800b\udc00"),
            odd("odd", 5, b'"a\xff\xc3b"', r"a\udcff\udcc3b"),
            odd("odd", 6, b"NaN", "NaN"),
            odd("odd", 7, b"[1, -Infinity]", [1, "-Infinity"]),
            Event(line("odd", 8, input="\ud83d\ude00 <script>\u202e\x1b[31m\r\n' OR 1=1;--")),
        )
    ),
    "a NUL byte": Log(around("nul byte", Bad(b'{"a": "\x00"}', NO_JSON), Bad(bytes(5), NO_JSON))),
    "a line of 10 MB": Log(around("10 MB", Event(line("10 MB", 3, input="x" * 10_000_000)))),
    "a line that is too long": Log(around("too long", Bad(line("s", 3, input="x" * 13_000_000), "line is too long"))),
    "half a last line": Log([good("half"), Bad(line("half", 1)[:60], UNFINISHED)], last_end=b""),
    "a last line without its end": Log([good("no end"), good("no end", 1)], last_end=b""),
    "CRLF": Log(around("crlf", Blank(), Bad(b"bad", NO_JSON)), end=b"\r\n", last_end=b"\r\n"),
    "a byte-order mark": Log(around("bom", Bad(b"bad", NO_JSON)), start=b"\xef\xbb\xbf"),
    "gzip with several members": Log(around("members", good("members", 3)), pack=members),
    "a \x1b[31m[red]name\n": Log(around("name")),
}

NOISE = [line("noise", noise=random.Random(number).randbytes(500).hex(), n=number) for number in range(1_500)]
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "zstd": zstd.compress}
BOMB_BYTES = 400 * MIB
UNWRITABLE = [Path("/proc/sys/vm/compact_memory"), Path("/proc/sys/net/ipv4/route/flush")]


def noise(name: str) -> list[bytes]:
    """Lines that compress badly, other ones for every `name`."""
    return [event.replace(b'"noise"', b'"noise %b"' % name.encode(), 1) for event in NOISE]


class World(NamedTuple):
    settings: Settings
    folder: Path
    first: Loaded
    again: CompletedProcess[str]
    reader_peak: int
    unchanged: bool

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every case, loaded, and then loaded again."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("bad")
    for name, log in LOGS.items():
        old(folder / f"{name}.json", log.pack(log.content()))
    for name, pack in PACKED.items():
        packed = pack(b"\n".join(noise(name)))
        old(folder / f"truncated {name}.json", packed[: len(packed) * 3 // 4])
    bomb(folder / "bomb.json")
    (folder / "no logs").mkdir()
    (folder / "no logs" / "notes.txt").write_text("nothing")
    paths = [
        *map(str, (folder, folder / "nowhere.json", folder / "no logs", folder / "*.nothing")),
        *unreadable(folder),
    ]
    with apart(servers, home=home) as settings:
        first, peak = load_watched(settings, "--sensor", UNNAMED, *paths)
        held = dump(settings)
        again = tally(settings, "load", "--sensor", UNNAMED, *paths)
        yield World(settings, folder, first, again, peak, unchanged=dump(settings) == held)


def bomb(path: Path) -> None:
    """Write two events with 400 MiB of blank lines between them."""
    with zstd.open(path, "wb") as file:
        file.write(line("bomb", 1) + b"\n")
        for _ in range(BOMB_BYTES // MIB):
            file.write(b" " * (MIB - 1) + b"\n")
        file.write(line("bomb", 2) + b"\n")


def unreadable(folder: Path) -> list[str]:
    """A file that this user may not read; for root, who may read whatever its mode, one that only takes writes."""
    if os.geteuid() != 0:
        secret = old(folder / "secret", b"{}")
        secret.chmod(0)
        return [str(secret)]
    return [str(path) for path in UNWRITABLE if path.exists()][:1]


@pytest.mark.parametrize("name", LOGS)
def test_every_line_is_a_row_or_a_dead_letter_and_the_source_succeeds(world: World, name: str) -> None:
    log, source = LOGS[name], world.first.source(world.file(name))
    assert verdicts(source) == SUCCEEDED
    assert {count: source[count] for count in ("lines", "events", "dead_letters")} == log.counts()
    rows, found = stored(world.settings, source["source"]), letters(world.settings, source["source"])
    assert rows == log.rows()
    assert found == log.letters()
    blank = sum(isinstance(entry, Blank) for entry in log.lines)
    assert len(rows) + sum(letter.piece == 0 for letter in found) + blank == source["lines"]


@pytest.mark.parametrize("name", PACKED)
def test_of_a_truncated_file_all_that_can_be_read_is_loaded_and_reading_has_failed(world: World, name: str) -> None:
    path = world.file(f"truncated {name}")
    source = world.first.source(path)
    assert verdicts(source) == {**SUCCEEDED, "read": "failed"}
    assert f"read: failed: {path}: the {name} stream ends early" in source["trouble"]
    rows, found = stored(world.settings, source["source"]), letters(world.settings, source["source"])
    lines = noise(name)
    assert 700 < len(rows) < len(lines)
    assert [entry.payload for _, entry in sorted(rows.items())] == [json.loads(entry) for entry in lines[: len(rows)]]
    assert [letter.reason for letter in found] == ["truncated"]
    assert lines[len(rows)].startswith(found[0].payload)
    assert found[0].position == sum(len(entry) + 1 for entry in lines[: len(rows)])
    assert (source["lines"], source["events"], source["dead_letters"]) == (len(rows) + 1, len(rows), 1)


REFUSED = [
    pytest.param("nowhere.json", "no such file; check the path", id="no such file"),
    pytest.param("no logs", "the folder holds no log: no file has .json in its name", id="a folder without logs"),
    pytest.param("*.nothing", "the pattern matches no file", id="a pattern that matches nothing"),
]


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_what_is_not_there_has_failed_with_a_reason(world: World, name: str, reason: str) -> None:
    source = world.first.source(world.folder / name)
    assert verdicts(source) == {"read": "failed"}
    assert reason in source["trouble"]


def test_a_file_without_permission_has_failed_with_a_reason(world: World) -> None:
    if not (paths := unreadable(world.folder)):
        pytest.skip("optional: root may read every file here")
    source = world.first.source(paths[0])
    assert verdicts(source) == {"read": "failed"}
    assert "no permission to read it" in source["trouble"]


def test_a_decompression_bomb_is_read_in_bounded_memory(world: World) -> None:
    source = world.first.source(world.file("bomb"))
    assert verdicts(source) == SUCCEEDED
    assert (source["lines"], source["events"], source["dead_letters"]) == (BOMB_BYTES // MIB + 2, 2, 0)
    assert world.file("bomb").stat().st_size < MIB
    assert len(stored(world.settings, source["source"])) == 2
    assert 20 * MIB < world.reader_peak < BOMB_BYTES / 2


def test_events_without_a_session_are_stored_under_their_sensor(world: World) -> None:
    source = world.first.source(world.file("no session"))
    rows = stored(world.settings, source["source"]).values()
    assert [(found.sensor, found.session) for found in rows].count((SENSOR, "")) == 2


def test_the_load_has_not_succeeded(world: World) -> None:
    assert world.first.code == 1
    assert world.first.result["succeeded"] is False
    assert world.first.result["problems"] == []
    assert world.again.returncode == 1


def test_the_same_again_changes_no_row(world: World) -> None:
    assert world.unchanged


def test_a_table_and_a_line_for_each_trouble_say_what_did_not_tally_and_why(world: World) -> None:
    output = world.again.stdout
    for path in (world.file("truncated gzip"), world.folder / "nowhere.json"):
        assert re.search(rf"^{re.escape(str(path))}: read: failed: ", output, re.MULTILINE)
    sources = len(world.first.result["sources"])
    bad = len(PACKED) + len(REFUSED) + len(unreadable(world.folder))
    assert f"NOT DONE: {sources - bad} of {sources} sources succeeded" in output


def test_progress_never_passes_100_percent(world: World) -> None:
    for said in (world.first.said, world.again.stdout):
        found = shares(said)
        assert {name for name, *_ in found} == set(SUCCEEDED)
        assert all(share <= 100 and done <= total for _, share, done, total in found)


def test_names_are_shown_with_visible_escapes(world: World) -> None:
    shown = tally_here(world.settings, "sources").stdout
    for output in (world.again.stdout, shown):
        assert "\x1b" not in output
        assert r"\x1b[31m[red]name\n.json" in output
