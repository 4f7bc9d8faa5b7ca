"""`tally load` of logs whose objects don't keep to lines: the same rows as from lines, and nothing twice."""

import json
from pathlib import Path

from tallystick.settings import Settings
from tests import sample
from tests.dumps import count, dump
from tests.loads import SUCCEEDED, letters, load, old, verdicts

TABLES = ("raw_events", "session_summaries")
EVENTS = [json.loads(line) for line in sample.LINES]
PRETTY = b"\n".join(json.dumps(event, indent=4).encode() for event in EVENTS) + b"\n"


def test_the_sample_in_every_form_is_one_set_of_rows(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "hp1"
    folder.mkdir(parents=True)
    old(folder / "cowrie.json.2026-11-21", PRETTY)
    done = load(settings, str(folder))
    assert done.code == 0, done.said
    assert [count(settings, table) for table in TABLES] == [sample.EVENTS, sample.SESSIONS]
    before = dump(settings)["raw_events"]
    array = old(folder / "cowrie.json.2026-11-22", json.dumps(EVENTS).encode())
    lines = old(folder / "cowrie.json.2026-11-23", b"\n".join(sample.LINES) + b"\n")
    again = load(settings, str(tmp_path / "archive"))
    assert again.code == 0, again.said
    assert verdicts(again.source(array)) == verdicts(again.source(lines)) == SUCCEEDED
    assert (again.source(array)["events"], again.source(lines)["events"]) == (sample.EVENTS, sample.EVENTS)
    assert dump(settings)["raw_events"] == before
    assert len(before) == sample.EVENTS


def test_what_rotation_cut_is_a_letter_and_the_format_may_be_told(settings: Settings, tmp_path: Path) -> None:
    cut = PRETTY[PRETTY.index(b'"', 200) : 40_000]
    log = old(tmp_path / "cowrie.json", cut)
    done = load(settings, "--format", "pretty", str(log))
    source = done.source(log)
    assert done.code == 0, done.said
    assert verdicts(source) == SUCCEEDED
    first, last = letters(settings, source["source"])
    assert (first.position, first.reason, last.reason) == (0, "not part of an object", "unfinished last line")
    assert cut.startswith(first.payload)
    assert cut.endswith(last.payload)
    assert source["lines"] == source["events"] + 2
