"""`tally dlq` by the real command: a log with bad lines is loaded, its letters are looked at, mended and resolved.

What was brought into the log once more is then loaded into a second database, of the other kind.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from tallystick.settings import DatabaseSettings, Settings
from tests.loads import SUCCEEDED, Loaded, ask, load, old, verdicts
from tests.plugins.services import apart
from tests.support import json_of, tally_here, tally_json


def event(number: int, **more: object) -> bytes:
    named = {"eventid": "cowrie.x", "timestamp": f"2026-11-23T03:00:{number:02}.000000Z", "session": f"s{number % 3}"}
    return json.dumps({**named, "sensor": "pot", "n": number, **more}).encode()


HOSTILE = b"\x1b]0;owned\x07\xe2\x80\xae[red]:skull: \xff"
LONG = event(30, input="x" * 2_000)
CUT = event(31)[:-20]
REFUSED = event(32).replace(b'"n": 32', b'"n": 1e999999')
LINES = [*map(event, range(20)), HOSTILE, LONG, event(21), CUT, REFUSED, event(22), HOSTILE]


class World(NamedTuple):
    """What the commands said, in their order, and the second database."""

    settings: Settings
    second: Settings
    path: Path
    loaded: Loaded
    listed: dict[str, Any]
    table: str
    shown: str
    exported: list[dict[str, Any]]
    rehearsed: dict[str, Any]
    retried: dict[str, Any]
    again: CompletedProcess[str]
    replaced: dict[str, Any]
    unsure: CompletedProcess[str]
    resolved: CompletedProcess[str]
    left: dict[str, Any]
    second_loaded: Loaded
    second_listed: dict[str, Any]

    def id_of(self, content: bytes) -> int:
        """The number of the letter with that content; of several, the first."""
        return next(int(letter["id"]) for letter in self.exported if base64.b64decode(letter["payload"]) == content)


def by_reason(listed: dict[str, Any]) -> dict[str, int]:
    return {found["reason"]: found["letters"] for found in listed["by_reason"]}


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("logs")
    path = old(folder / "cowrie.json", b"".join(line + b"\n" for line in LINES))
    whole, export = old(folder / "whole", event(31)), folder / "letters"
    with apart(servers, home=home) as settings:
        url = f"sqlite:///{home / 'second.db'}"
        second = settings.model_copy(update={"database": DatabaseSettings.model_validate({"url": url})})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TALLY_READER__MAX_LINE_BYTES", "1000")
            loaded = load(settings, str(path))
        listed = json_of(tally_here(settings, "dlq", "list", "--json"))
        table = tally_here(settings, "dlq", "list").stdout
        assert tally_here(settings, "dlq", "export", "--output", str(export)).returncode == 0
        exported = [json.loads(line) for line in export.read_bytes().splitlines()]
        hostile, cut = (
            str(next(letter["id"] for letter in exported if base64.b64decode(letter["payload"]) == content))
            for content in (HOSTILE, CUT)
        )
        yield World(
            settings,
            second,
            path,
            loaded,
            listed,
            table,
            shown=tally_here(settings, "dlq", "show", hostile).stdout,
            exported=exported,
            rehearsed=json_of(tally_here(settings, "dlq", "retry", "--dry-run", "--json")),
            retried=tally_json(settings, "dlq", "retry", "--json"),
            again=tally_here(settings, "dlq", "retry", "--reason", "line is too long"),
            replaced=tally_json(settings, "dlq", "retry", cut, "--replace", str(whole), "--json"),
            unsure=tally_here(settings, "dlq", "resolve", "--reason", "not JSON"),
            resolved=tally_here(settings, "dlq", "resolve", "--reason", "not JSON", "--note", "noise", "--yes"),
            left=json_of(tally_here(settings, "dlq", "list", "--json")),
            second_loaded=load(second, str(path)),
            second_listed=json_of(tally_here(second, "dlq", "list", "--all", "--json")),
        )


def test_the_log_succeeds_although_the_database_refuses_one_of_its_events(world: World) -> None:
    source = world.loaded.source(world.path)
    assert verdicts(source) == SUCCEEDED
    assert (source["lines"], source["events"], source["dead_letters"]) == (len(LINES), 23, 4)


def test_all_letters_are_listed_newest_first_and_counted_by_reason(world: World) -> None:
    assert world.listed["total"] == 5
    assert by_reason(world.listed) == {"not JSON": 3, "line is too long": 1, "the database refuses it": 1}
    ids = [letter["id"] for letter in world.listed["letters"]]
    assert ids == sorted(ids, reverse=True)
    assert world.table.splitlines()[-1] == "5 letters: 3 not JSON, 1 the database refuses it, 1 line is too long"


def test_nothing_hostile_reaches_the_terminal(world: World) -> None:
    for output in (world.table, world.shown):
        assert all(char.isprintable() or char == "\n" for char in output)
        assert r"\x1b]0;owned\x07\u202e[red]:skull: \xff" in output


def test_an_export_holds_the_bytes_of_every_letter_oldest_first(world: World) -> None:
    contents = [base64.b64decode(letter["payload"]) for letter in world.exported]
    assert sorted(contents) == sorted([HOSTILE, HOSTILE, LONG, CUT, REFUSED])
    assert [letter["id"] for letter in world.exported] == sorted(letter["id"] for letter in world.exported)


def test_a_rehearsal_says_what_can_be_read_and_sends_nothing(world: World) -> None:
    long = world.id_of(LONG)
    assert (world.rehearsed["readable"], world.rehearsed["resolved"], world.rehearsed["sources"]) == ([long], [], [])
    reasons = {stays["id"]: stays["reason"] for stays in world.rehearsed["stays"]}
    assert reasons[world.id_of(REFUSED)] == "the database refuses it: value overflows numeric format"
    assert reasons[world.id_of(CUT)].startswith("not JSON")


def test_what_can_be_read_now_is_a_source_with_verdicts_and_its_letter_is_resolved(world: World) -> None:
    assert world.retried["resolved"] == [world.id_of(LONG)]
    [source] = world.retried["sources"]
    assert verdicts(source) == SUCCEEDED
    assert (source["name"], source["events"]) == ("retry of 1 dead letter", 1)
    assert world.retried["succeeded"] is False, "not all that was chosen is resolved"
    assert (world.again.returncode, world.again.stdout) == (0, "no open letter is chosen\n")


def test_a_line_that_was_mended_by_hand_takes_the_place_of_a_letter(world: World) -> None:
    assert world.replaced["succeeded"] is True
    assert world.replaced["resolved"] == [world.id_of(CUT)]


def test_every_event_is_stored_once(world: World) -> None:
    found = ask(world.settings, "SELECT payload FROM raw_events")
    assert sorted(payload["n"] for (payload,) in found) == [*range(20), 21, 22, 30, 31]
    [(events,)] = ask(world.settings, "SELECT sum(event_count) FROM session_summaries")
    assert events == 25, "the sessions count the event that this database refuses"


def test_many_are_resolved_by_hand_only_where_it_is_confirmed(world: World) -> None:
    assert world.unsure.returncode == 2
    assert "would resolve 2 letters: give --yes" in world.unsure.stderr
    assert world.resolved.stdout == "2 letters resolved\n"
    assert by_reason(world.left) == {"the database refuses it": 1}
    rows = ask(world.settings, "SELECT resolved_by, note FROM dead_letter_events WHERE resolved AND note IS NOT NULL")
    assert [note for _, note in rows] == ["noise", "noise"]
    assert all(by for by, _ in rows)


def test_a_second_database_resolves_what_was_answered_and_nothing_else(world: World) -> None:
    assert verdicts(world.second_loaded.source(world.path)) == SUCCEEDED
    resolved = {letter["digest"]: letter["resolved_by"] for letter in world.second_listed["letters"]}
    digests = {letter["id"]: letter["digest"] for letter in world.exported}
    assert resolved[digests[world.id_of(LONG)]] == world.retried["sources"][0]["source"]
    assert resolved[digests[world.id_of(CUT)]] == world.replaced["sources"][0]["source"]
    assert [resolved[digests[world.id_of(content)]] for content in (HOSTILE, REFUSED)] == ["", ""]
    assert ask(world.second, "SELECT count(*) FROM raw_events") == [(25,)]


WRONG = [
    pytest.param(("list", "--resolved", "--all"), "exclude each other", id="open and resolved"),
    pytest.param(("list", "--since", "yesterday"), "not a time: 'yesterday'", id="a time that is none"),
    pytest.param(("show", "999999"), "there is no letter 999999", id="a letter that isn't there"),
    pytest.param(("show", "9" * 30), "less than or equal to", id="a number that no database holds"),
    pytest.param(("resolve", "1", "--reason", "x"), "either the ids", id="ids and options"),
    pytest.param(("retry", "--replace", "x"), "name that letter, and no other", id="a replacement for all"),
    pytest.param(("retry", "1", "--replace", "/nowhere"), "/nowhere can't be read: No such file", id="no replacement"),
    pytest.param(
        ("export", "--output", "/nowhere/x"), "can't be written: No such file", id="a folder that isn't there"
    ),
    pytest.param(("export", "--output", "/"), "is there already", id="a file that is there"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_makes_no_sense_is_refused_in_words(world: World, arguments: tuple[str, ...], said: str) -> None:
    done = tally_here(world.settings, "dlq", *arguments)
    assert done.returncode == 2
    assert said in re.sub(r"[\s│]+", " ", done.stderr)
