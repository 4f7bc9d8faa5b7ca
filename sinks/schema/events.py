"""Events as they were read, and what could not be taken as an event."""

import sqlalchemy as sa

from sinks.schema.base import JSON, MOMENT, NUMBER, Now, metadata

raw_events = sa.Table(
    "raw_events",
    metadata,
    sa.Column("sensor", sa.Text, nullable=False),
    sa.Column("session_id", sa.Text, nullable=False, comment="empty for events of the sensor itself"),
    sa.Column("digest", NUMBER, nullable=False, comment="xxh3-64 of the line: the event's identity in its session"),
    sa.Column("source_id", sa.Text, nullable=False, comment="the source that brought it first"),
    sa.Column("source_offset", NUMBER, nullable=False, comment="its position there"),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("event_timestamp", MOMENT, nullable=False),
    sa.Column("payload", JSON, nullable=False),
    sa.Column("raw", sa.LargeBinary, comment="the exact bytes, where the payload holds visible escapes instead"),
    sa.Column("ingest_at", MOMENT, nullable=False, server_default=Now()),
    sa.Column("risk_score", sa.Integer, comment="from 0 to 100"),
    sa.PrimaryKeyConstraint("sensor", "session_id", "digest", name="pk_raw_events"),
    # Rows lie in order of arrival, so the ranges of a source are few and a block range index does at no cost.
    sa.Index("ix_raw_events_source_id", "source_id", postgresql_using="brin"),
)

dead_letter_events = sa.Table(
    "dead_letter_events",
    metadata,
    sa.Column("id", NUMBER, sa.Identity(always=True), primary_key=True),
    sa.Column("source_id", sa.Text, nullable=False, comment="empty where the source is not known"),
    sa.Column("source_offset", NUMBER, nullable=False, comment="position in the source, else offset in the topic"),
    sa.Column("origin", sa.Text, nullable=False, comment="read, or the agent or sink that refused it"),
    sa.Column("piece", sa.Integer, nullable=False, comment="long content comes in several pieces"),
    sa.Column("topic", sa.Text, nullable=False, comment="the record that held it, where it was in one"),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("metadata_json", JSON, nullable=False),
    sa.Column("created_at", MOMENT, nullable=False, server_default=Now()),
    sa.Column("resolved", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("resolved_at", MOMENT),
    sa.Column("digest", NUMBER, nullable=False, comment="xxh3-64 of the payload: a position may hold two in turn"),
    sa.Column("last", sa.Boolean, nullable=False, comment="whether a letter ends here; the others lead up to it"),
    sa.Column("record_key", sa.Text, nullable=False, server_default="", comment="the key of that record"),
    sa.Column("resolved_by", sa.Text, comment="the retry that brought the event, or the user who resolved it"),
    sa.Column("note", sa.Text, comment="what that user had to say"),
    sa.UniqueConstraint(
        "source_id", "source_offset", "origin", "piece", "topic", "partition", "digest", name="uq_dead_letter_events"
    ),
    # A hash index takes text of any length, which comes from whoever may write to the topics.
    sa.Index("ix_dead_letter_events_record_key", "record_key", postgresql_using="hash"),
)

dead_letter_retries = sa.Table(
    "dead_letter_retries",
    metadata,
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("source_offset", NUMBER, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("piece", sa.Integer, nullable=False, comment="number of the letter's last piece"),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("digest", NUMBER, nullable=False, comment="of the letter's last piece"),
    sa.Column("retry_id", sa.Text, nullable=False, comment="the source that brought the event"),
    sa.Column("retry_offset", NUMBER, nullable=False, comment="its position there"),
    sa.Column("persisted_at", MOMENT, nullable=False, server_default=Now()),
    sa.PrimaryKeyConstraint(
        "source_id", "source_offset", "origin", "piece", "topic", "partition", "digest", name="pk_dead_letter_retries"
    ),
)
