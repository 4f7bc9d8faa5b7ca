"""The topic catalogue as a page of Markdown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tallystick.contracts import slices
from tallystick.contracts.schemas import REFERENCE, Schema, schemas
from tallystick.contracts.topics import Topic

_PREFACE = """\
# Topics

Written by `tally topics docs` from the catalogue and the structs; a test keeps this page equal to them. Change those.

Scaled topics have as many partitions as `kafka.partitions` says, and each name is preceded by `kafka.topic_prefix`.
Compacted topics keep the newest value of each key for ever, the others keep all for `kafka.retention_ms` (for ever,
unless it is set). Records are partitioned by murmur2 of the key, and stamped with the time at which the broker got
them; event time is in the value. `tally topics docs --format asyncapi` prints the same for programs."""


def markdown(topics: Sequence[Topic], values: Mapping[str, Any]) -> str:
    """Return the page: a table of the topics, each of them in full, and the structure of every value.

    `values` holds the type behind each `Topic.value`; a topic without one carries slices.
    """
    blocks = [_PREFACE, _overview(topics), *(_topic(topic, values) for topic in topics), _slices(), "## Values"]
    blocks += (_value(name, schema) for name, schema in schemas(values).items())
    return "\n\n".join(blocks) + "\n"


def _overview(topics: Sequence[Topic]) -> str:
    rows = ((f"[`{t.name}`](#{_anchor(t.name)})", f"`{t.key}`", t.owner, t.summary) for t in topics)
    return _table(("topic", "key", "written by", "what it holds"), rows)


def _topic(topic: Topic, values: Mapping[str, Any]) -> str:
    value = f"[`{topic.value}`](#{_anchor(topic.value)})" if topic.value in values else f"[{topic.value}](#slices)"
    facts = {
        "key": f"`{topic.key}`",
        "value": value,
        "written by": topic.owner,
        "partitions": "scaled" if topic.scaled else "1",
        "clean-up": topic.cleanup,
    }
    lines = "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
    return f"## `{topic.name}`\n\n{topic.summary}\n\n{lines}"


def _slices() -> str:
    return f"## Slices\n\n{(slices.__doc__ or '').strip()}"


def _value(name: str, schema: Schema) -> str:
    parts = [f"### `{name}`", schema.get("description", "")]
    if "properties" in schema:
        rows = (
            (f"`{field}`", _type(kind), f"`{json.dumps(kind['default'])}`" if "default" in kind else "")
            for field, kind in schema["properties"].items()
        )
        parts.append(_table(("field", "type", "default"), rows))
    else:
        parts.append(f"Is {_type(schema)}.")
    return "\n\n".join(part for part in parts if part)


def _type(schema: Schema) -> str:
    """Return a schema in words, with links to the structs in it."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return f"[`{name}`](#{_anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "type" not in schema:
        return "any JSON"
    if schema["type"] == "array":
        items = schema["items"]
        return f"({', '.join(map(_type, items))})" if isinstance(items, list) else f"array of {_type(items)}"
    if schema["type"] == "object":
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("contentEncoding", schema["type"]))


def _table(names: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ("---",) * len(names), *rows))


def _anchor(heading: str) -> str:
    return "".join(char for char in heading.lower() if char.isalnum() or char in "-_")
