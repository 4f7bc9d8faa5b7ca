"""A medium's history in words and as PREMIS, from the words of the log; no Kafka."""

from collections.abc import Callable
from xml.etree import ElementTree

import msgspec
import pytest

from tallystick.cli.media.history import READERS, Entry, condensed, entries
from tallystick.cli.media.premis import NAMESPACE, TERMS, as_premis, events
from tallystick.cli.media.telling import Told, tell
from tallystick.contracts import media, stages
from tallystick.contracts.media import ARCHIVE_COUNTS, MEDIA, RUNS, Form, Medium, Run
from tallystick.contracts.stages import (
    Claimed,
    Command,
    Failed,
    Observed,
    Outcome,
    Passed,
    Reported,
    StageEvent,
    Started,
    Verdict,
)
from tallystick.contracts.topics import STAGES, Topic

MEDIUM = "da69350a4e9f62f0c2a8a6a3ad5d2c11"
KIND = "media.image"
BLAKE3 = "ab" * 32


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000Z"


class LogRecord(msgspec.Struct):
    """A record as Kafka's client gives it."""

    of: bytes
    content: bytes | None
    number: int = 0

    def key(self) -> bytes:
        return self.of

    def value(self) -> bytes | None:
        return self.content

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return self.number


THE_MEDIUM = Medium(
    MEDIUM,
    Form.IMAGE,
    1,
    "<disk>&\x1b[31m\udcff",
    b"/x/\xff.img",
    at(0),
    image=b"/x/\xff.img",
    size=99,
    digest=BLAKE3,
    message="from the\x00 cellar",
)
ARCHIVED = dict(zip(ARCHIVE_COUNTS, (3, 1000, 400), strict=True))
WORDS: list[Medium | Run | StageEvent | Outcome | Command] = [
    THE_MEDIUM,
    Started(MEDIUM, KIND, "n", "enumerated", 1, at(1), "p"),
    Started(MEDIUM, KIND, "n", "enumerated", 1, at(2), "p"),
    Run(MEDIUM, 7, "enumerated", 1, "host:1", at(1)),
    Run(MEDIUM, 7, "enumerated", 1, "host:1", at(1), at(3), 2.5, 3, "2 folders", {"records": 5}, {"rules": "none"}),
    Claimed(MEDIUM, KIND, "n", "enumerated", 1, at(3), {"records": 5}, {}, BLAKE3, 7),
    Observed(MEDIUM, "media_inodes", "p", at(4), {0: Passed(9, 2)}),
    Observed(MEDIUM, "media_inodes", "p", at(5), {0: Passed(9, 5)}),
    Command(MEDIUM, KIND, "n", "enumerated", 1, "p", at(5), look=True, run=7),
    Reported(MEDIUM, "enumerated", 1, "p", at(6), {}, {"records": 5}, digest=BLAKE3, run=7),
    Outcome(MEDIUM, KIND, "n", "enumerated", 1, "p", Verdict.SUCCEEDED, "with losses: 2 problems", 5, 5, at(7)),
    Failed(MEDIUM, KIND, "n", "copied", 1, at(8), "silent for 120 s", "p", -9, presumed=True),
    Outcome(MEDIUM, KIND, "n", "copied", 1, "p", Verdict.FAILED, "silent for 120 s", 0, 0, at(8)),
    Run(MEDIUM, 9, "archived", 1, "host:2", at(9), at(10), 1.0, 0, "", ARCHIVED),
    Reported(MEDIUM, "archived", 1, "p", at(11), {}, ARCHIVED, digest=BLAKE3, run=9),
    Outcome(MEDIUM, KIND, "n", "archived", 1, "p", Verdict.SUCCEEDED, "", 3, 3, at(12)),
]


def history() -> list[Told]:
    found = [
        Entry(getattr(word, "ended_at", "") or getattr(word, "at", at(1)), f"t/0/{n}", word)
        for n, word in enumerate(WORDS)
    ]
    return [tell(entry) for entry in condensed(found)]


def test_the_history_is_in_the_order_of_time_and_tells_who_and_how_it_ended() -> None:
    told = [(one.event, one.stage, one.who, one.outcome) for one in history()]
    assert told == [
        ("identified", "identified", "worker", ""),
        ("started", "enumerated", "worker", ""),
        ("run began", "enumerated", "host:1", ""),
        ("run ended", "enumerated", "host:1", "exit 3"),
        ("claimed", "enumerated", "worker", ""),
        ("observed", "", "media_inodes", ""),
        ("look commanded", "enumerated", "stages agent", ""),
        ("looked at", "enumerated", "verifier", ""),
        ("verdict", "enumerated", "stages agent", "succeeded"),
        ("failed", "copied", "supervisor", "failed"),
        ("verdict", "copied", "stages agent", "failed"),
        ("run ended", "archived", "host:2", "exit 0"),
        ("looked at", "archived", "verifier", ""),
        ("verdict", "archived", "stages agent", "succeeded"),
    ]


def test_of_heartbeats_the_first_stays_and_of_what_is_cumulative_the_last() -> None:
    by_event = {one.event: one for one in history()}
    assert by_event["started"].at == at(1)
    assert by_event["observed"].counts == {"inserted": 5, "present": 0, "dead": 0}


def test_a_signal_is_told_as_one() -> None:
    assert tell(Entry(at(1), "", Run(MEDIUM, 1, "copied", 1, "w", at(0), at(1), 1.0, -9))).outcome == "signal 9"


@pytest.mark.parametrize(
    ("topic", "encode", "word"),
    [
        (MEDIA, media.encode, msgspec.structs.replace(THE_MEDIUM, name="n")),
        (RUNS, media.encode, WORDS[3]),
        (STAGES, stages.encode, WORDS[1]),
    ],
    ids=["media", "runs", "stages"],
)
def test_only_what_is_of_the_medium_is_read(topic: Topic, encode: Callable[[object], bytes], word: object) -> None:
    records = [
        LogRecord(MEDIUM.encode(), encode(word), 5),
        LogRecord(MEDIUM[:8].encode() + b"f" * 24, encode(word), 6),
        LogRecord(MEDIUM.encode(), b"no JSON", 7),
        LogRecord(MEDIUM.encode(), None, 8),
    ]
    found = list(entries(topic, records, MEDIUM))
    assert [(entry.place, entry.word) for entry in found] == [(f"{topic.name}/2/5", word)]


def test_every_topic_that_speaks_of_media_is_read() -> None:
    assert {topic.name for topic in READERS} == {
        "media.media",
        "media.runs",
        "stages",
        "stage.commands",
        "stage.outcomes",
    }


def test_each_work_each_look_and_each_verdict_is_an_event_with_its_outcome() -> None:
    found = [(event.kind, event.told.stage, event.outcome) for event in events(history())]
    assert found == [
        ("ingestion start", "identified", ""),
        ("message digest calculation", "identified", "success"),
        ("metadata extraction", "enumerated", "warning"),
        ("validation", "enumerated", ""),
        ("validation", "enumerated", "warning"),
        ("replication", "copied", "fail"),
        ("validation", "copied", "fail"),
        ("packing", "archived", "success"),
        ("fixity check", "archived", ""),
        ("ingestion end", "archived", "success"),
    ]


def test_a_claim_without_a_run_that_ended_is_an_event_of_its_own() -> None:
    claim = tell(Entry(at(3), "t/0/1", Claimed(MEDIUM, KIND, "n", "copied", 1, at(3), {"copied": 5}, {}, run=7)))
    assert [event.kind for event in events([claim])] == ["replication"]


ORDER = {
    "premis": ["object", "event", "agent"],
    "object": ["objectIdentifier", "objectCharacteristics", "originalName"],
    "objectCharacteristics": ["compositionLevel", "fixity", "size", "format"],
    "fixity": ["messageDigestAlgorithm", "messageDigest"],
    "event": [
        "eventIdentifier",
        "eventType",
        "eventDateTime",
        "eventDetailInformation",
        "eventOutcomeInformation",
        "linkingAgentIdentifier",
        "linkingObjectIdentifier",
    ],
    "eventDetailInformation": ["eventDetail"],
    "eventOutcomeInformation": ["eventOutcome", "eventOutcomeDetail"],
    "agent": ["agentIdentifier", "agentName", "agentType", "agentVersion"],
}
"""The order of elements in the schema of PREMIS 3.0, of those that are written."""
NEEDED = {
    "premis": {"object"},
    "object": {"objectIdentifier"},
    "event": {"eventIdentifier", "eventType", "eventDateTime"},
    "agent": {"agentIdentifier"},
}


def document() -> ElementTree.Element:
    return ElementTree.fromstring(as_premis(THE_MEDIUM, history()))  # noqa: S314 - our own


def local(element: ElementTree.Element) -> str:
    return element.tag.removeprefix(f"{{{NAMESPACE}}}")


def test_elements_stand_in_the_order_of_the_schema_and_none_that_it_needs_is_missing() -> None:
    for element in document().iter():
        order = ORDER.get(local(element))
        if order is None:
            continue
        names = [local(child) for child in element]
        assert names == sorted(names, key=order.index)
        assert set(names) >= NEEDED.get(local(element), set())


def test_events_are_told_apart_and_agents_and_objects_that_they_name_are_there() -> None:
    root = document()
    inner = f"{{{NAMESPACE}}}"
    identifiers = [element.text for element in root.iter(f"{inner}eventIdentifierValue")]
    assert len(identifiers) == len(set(identifiers)) == len(list(events(history())))
    for kind in ("Agent", "Object"):
        named = {element.text for element in root.iter(f"{inner}linking{kind}IdentifierValue")}
        assert named <= {element.text for element in root.iter(f"{inner}{kind.lower()}IdentifierValue")}


def test_types_of_events_are_terms_of_the_vocabulary() -> None:
    for element in document().iter(f"{{{NAMESPACE}}}eventType"):
        assert element.text is not None
        assert element.attrib["valueURI"].rpartition("/")[2] == TERMS[element.text]


def test_hostile_names_are_visible_escapes() -> None:
    names = [element.text for element in document().iter(f"{{{NAMESPACE}}}originalName")]
    assert names[0] == r"<disk>&\x1b[31m\udcff"
    details = "".join(element.text or "" for element in document().iter(f"{{{NAMESPACE}}}eventDetail"))
    assert r"from the\x00 cellar" in details
