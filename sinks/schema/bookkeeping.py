"""What sinks must remember to count every event once: written in the same transactions as the rows."""

import sqlalchemy as sa

from sinks.schema.base import MOMENT, NUMBER, Now, metadata

meta = sa.Table(
    "tallystick_meta",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("projection", sa.Text, nullable=False, comment="the name of this database in stage events"),
    sa.Column("log", sa.Text, comment="the Kafka cluster, and the prefix of the topics, that it is a projection of"),
    sa.Column("created_at", MOMENT, nullable=False, server_default=Now()),
    sa.CheckConstraint("id = 1", name="ck_tallystick_meta_one_row"),
)

sink_offsets = sa.Table(
    "sink_offsets",
    metadata,
    sa.Column("cluster_id", sa.Text, nullable=False),
    sa.Column("sink", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("next_offset", NUMBER, nullable=False, comment="of the first record that is not in this database"),
    sa.Column(
        "refill_to",
        NUMBER,
        nullable=False,
        server_default="0",
        comment="while next_offset is below, the sink's tables are being filled again",
    ),
    sa.Column(
        "announced_offset",
        NUMBER,
        nullable=False,
        server_default="0",
        comment="what was observed below it is known to be with Kafka",
    ),
    sa.PrimaryKeyConstraint("cluster_id", "sink", "topic", "partition", name="pk_sink_offsets"),
)

sink_counters = sa.Table(
    "sink_counters",
    metadata,
    sa.Column("cluster_id", sa.Text, nullable=False),
    sa.Column("sink", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("next_offset", NUMBER, nullable=False, comment="the one after the source's last record here"),
    sa.Column("inserted", NUMBER, nullable=False),
    sa.Column("present", NUMBER, nullable=False),
    sa.Column("dead", NUMBER, nullable=False),
    sa.Column("low", NUMBER, nullable=False, comment="every position below it has been counted"),
    sa.Column("seen", sa.LargeBinary, nullable=False, comment="positions at or above low that have been counted"),
    sa.PrimaryKeyConstraint("cluster_id", "sink", "source_id", "partition", name="pk_sink_counters"),
    sa.Index("ix_sink_counters_next_offset", "sink", "partition", "next_offset"),
)
