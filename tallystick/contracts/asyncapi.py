"""The topic catalogue as an AsyncAPI 3 document."""

from collections.abc import Mapping, Sequence
from typing import Any

from tallystick.contracts import slices
from tallystick.contracts.schemas import REFERENCE, Schema, schemas
from tallystick.contracts.topics import Topic

VERSION = "3.0.0"
KAFKA_BINDING = "0.5.0"
SLICE = "Slice"

_DECIMAL = {"type": "string", "pattern": "^[0-9]+$"}
SLICE_HEADERS: dict[str, Schema] = {
    "source": {"type": "string", "description": "the source's id"},
    "position": {**_DECIMAL, "description": "position of the first event in the source"},
    "low": {**_DECIMAL, "description": "every event of the source below it was sent before this record"},
    "positions": {
        "type": "string",
        "format": "binary",
        "description": "where there is more than one event: u32 little-endian each, position minus `low`",
    },
    "schema": {"type": "string", "description": "name and version of the events' format"},
    "zone": {
        "type": "string",
        "description": "where it isn't UTC: IANA name of the zone that timestamps without one are in",
    },
    "letter": {
        "type": "string",
        "description": "in a retry, the dead letter that the one event answers: a JSON array of source, position,"
        " origin, topic, partition, and number and digest of its last piece",
    },
}
"""The headers of a slice; the `required` ones are all but `OPTIONAL_HEADERS`."""
OPTIONAL_HEADERS = {"positions", "zone", "letter"}


def asyncapi(
    topics: Sequence[Topic], values: Mapping[str, Any], *, release: str, partitions: int, retention_ms: int
) -> dict[str, Any]:
    """Return the document: a channel, a message and a `send` operation for each topic, and the schemas of all values.

    `values` holds the type behind each `Topic.value`; a topic without one carries slices. `release` is the version of
    Tallystick, `partitions` and `retention_ms` are the settings of the same name.
    """
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Tallystick",
            "version": release,
            "description": "What Tallystick writes to Kafka. Every record is partitioned by murmur2 of its key.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, partitions, retention_ms) for topic in topics},
        "operations": {f"send.{topic.name}": _operation(topic) for topic in topics},
        "components": {
            "messages": {topic.name: _message(topic, values) for topic in topics},
            "schemas": schemas(values),
        },
    }


def _channel(topic: Topic, partitions: int, retention_ms: int) -> Schema:
    config = topic.config(retention_ms)
    return {
        "address": topic.name,
        "description": topic.summary,
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions(partitions),
                "topicConfiguration": {
                    **config,
                    "cleanup.policy": [config["cleanup.policy"]],
                    "retention.ms": int(config["retention.ms"]),
                    "max.message.bytes": int(config["max.message.bytes"]),
                },
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operation(topic: Topic) -> Schema:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.summary,
        "tags": [{"name": owner.strip()} for owner in topic.owner.split(",")],
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.name}"}],
    }


def _message(topic: Topic, values: Mapping[str, Any]) -> Schema:
    key = {"type": "string", "description": topic.key}
    message = {
        "name": topic.value,
        "summary": topic.summary,
        "bindings": {"kafka": {"key": key, "bindingVersion": KAFKA_BINDING}},
    }
    if topic.value in values:
        return {**message, "payload": {"$ref": f"{REFERENCE}{topic.value}"}}
    return {
        **message,
        "name": SLICE,
        "description": slices.__doc__,
        "contentType": "application/x-ndjson",
        "headers": {
            "type": "object",
            "properties": SLICE_HEADERS,
            "required": [name for name in SLICE_HEADERS if name not in OPTIONAL_HEADERS],
        },
        "payload": {"type": "string", "description": f"{topic.value}, one a line"},
    }
