"""The catalogue's documentation: the page, the AsyncAPI document, and the commands that print them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.cli import topics
from tallystick.contracts import retries, slices
from tallystick.contracts.asyncapi import OPTIONAL_HEADERS, SLICE_HEADERS, asyncapi
from tallystick.contracts.catalogue import TOPICS, VALUES
from tallystick.contracts.reference import markdown
from tallystick.kafka.topics import Deviation

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "topics.md"
NAMES = [topic.name for topic in TOPICS]


def tally(*arguments: str) -> Result:
    app = typer.Typer()
    topics.register(app)
    return CliRunner().invoke(app, ["topics", *arguments])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    printed = tally("docs", "--format", "asyncapi")
    assert printed.exit_code == 0
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_page_in_the_repository_is_what_is_printed() -> None:
    assert PAGE.read_text() == tally("docs").stdout, "run `tally topics docs > docs/reference/topics.md`"


def test_every_link_within_the_page_has_its_heading() -> None:
    page = markdown(TOPICS, VALUES)
    headings = {re.sub(r"[^a-z0-9_-]", "", h.lower()) for h in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links
    assert links <= headings


def test_a_value_that_is_no_slice_has_its_type() -> None:
    assert {topic.value for topic in TOPICS if not topic.value.startswith("Slice")} == set(VALUES)


def test_the_documents_required_parts_are_there(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["title"]
    assert document["info"]["version"]
    assert list(document["channels"]) == list(document["components"]["messages"]) == NAMES
    assert len(document["operations"]) == len(NAMES)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > len(NAMES)
    for reference in found:
        assert resolve(document, reference)


def test_an_operation_sends_messages_of_its_own_channel(document: dict[str, Any]) -> None:
    for operation in document["operations"].values():
        assert operation["action"] == "send"
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_names_of_components_are_of_the_characters_that_the_specification_allows(document: dict[str, Any]) -> None:
    for components in document["components"].values():
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in components)


def test_schemas_are_of_the_specifications_dialect(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert '"prefixItems"' not in text
    assert document["components"]["schemas"]["StageEvent"]["discriminator"] == "event"
    assert isinstance(document["components"]["schemas"]["First"]["items"], list)


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_tells_the_brokers_configuration(document: dict[str, Any], name: str) -> None:
    channel = document["channels"][name]
    kafka = channel["bindings"]["kafka"]
    (topic,) = [topic for topic in TOPICS if topic.name == name]
    assert channel["address"] == name
    assert kafka["partitions"] == (4 if topic.scaled else 1)
    assert kafka["topicConfiguration"]["cleanup.policy"] == [topic.cleanup]
    assert kafka["topicConfiguration"]["retention.ms"] == -1


def test_scale_and_retention_are_those_asked_for() -> None:
    document = asyncapi(TOPICS, VALUES, release="1", partitions=9, retention_ms=5)
    kafka = {name: channel["bindings"]["kafka"] for name, channel in document["channels"].items()}
    assert (kafka["stages"]["partitions"], kafka["stages"]["topicConfiguration"]["retention.ms"]) == (9, 5)
    assert kafka["source.stages"]["topicConfiguration"]["retention.ms"] == -1


def test_the_headers_of_a_slice_are_those_that_are_written() -> None:
    _value, headers = slices.encode(b"source", b"cowrie/1", 0, [0, 10], [b"{}", b"{}"], b"Europe/Berlin")
    assert set(SLICE_HEADERS) == {name for name, _ in headers} | {retries.HEADER}
    _value, headers = slices.encode(b"source", b"cowrie/1", 0, [0], [b"{}"])
    assert set(SLICE_HEADERS) - OPTIONAL_HEADERS == {name for name, _ in headers}


def test_list_shows_the_catalogue_under_the_names_of_this_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_KAFKA__TOPIC_PREFIX", "mine.")
    monkeypatch.setenv("TALLY_KAFKA__PARTITIONS", "7")
    rows = json.loads(tally("list", "--json").stdout)
    assert [row["name"] for row in rows] == [f"mine.{name}" for name in NAMES]
    assert {row["partitions"] for row in rows} == {1, 7}
    table = tally("list").stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == [f"mine.{name}" for name in NAMES]


@pytest.mark.parametrize(
    ("deviations", "exit_code", "words"),
    [
        pytest.param([], 0, "as the catalogue says", id="nothing differs"),
        pytest.param([Deviation("stages", "partitions", "4", "2")], 1, "partitions", id="a deviation is shown, exit 1"),
    ],
)
def test_check(monkeypatch: pytest.MonkeyPatch, deviations: list[Deviation], exit_code: int, words: str) -> None:
    monkeypatch.setattr("tallystick.local.stack.resolve", lambda settings: settings)
    monkeypatch.setattr("tallystick.kafka.topics.check", lambda _settings, _topics: deviations)
    printed = tally("check")
    assert (printed.exit_code, words in printed.stdout) == (exit_code, True)
    assert len(json.loads(tally("check", "--json").stdout)) == len(deviations)


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        pytest.param(["stages"], "created stages\n", id="what was created"),
        pytest.param([], f"all {len(TOPICS)} topics are there already\n", id="nothing to do"),
    ],
)
def test_create_says_what_it_did(monkeypatch: pytest.MonkeyPatch, created: list[str], expected: str) -> None:
    monkeypatch.setattr("tallystick.local.stack.resolve", lambda settings: settings)
    monkeypatch.setattr("tallystick.kafka.topics.create", lambda _settings, _topics: created)
    assert tally("create").stdout == expected
