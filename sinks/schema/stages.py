"""Sources, and how each of their stages stands in this database."""

import sqlalchemy as sa

from sinks.schema.base import JSON, MOMENT, NUMBER, Now, metadata

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("source_id", sa.Text, primary_key=True),
    sa.Column("revision", NUMBER, nullable=False, comment="of the source's state; only ever grows"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, comment="path or address"),
    sa.Column("attempt", NUMBER, nullable=False),
    sa.Column("lines", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
    sa.Column("events", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
    sa.Column("dead_letters", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
    sa.Column("blank", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
    sa.Column("bytes", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
    sa.Column("digest", sa.Text, comment="of the whole content, decompressed"),
    sa.Column("claimed_attempt", NUMBER, nullable=False, comment="the attempt whose claim this row holds, or 0"),
    sa.Column("confirmed_attempt", NUMBER, nullable=False, comment="the attempt that the stages agent knows we hold"),
    sa.Column("heard_at", MOMENT),
    sa.Column("live_position", NUMBER, comment="of a source that is still written to: acknowledged up to here"),
    sa.Column("live_end", NUMBER, comment="where it ended when it was last heard of"),
    sa.Column("live_since", MOMENT, comment="since when what lies between the two has been there, at least"),
    sa.Column("until", sa.Text, nullable=False, server_default="", comment="the last stage of the attempt, if not all"),
    sa.Column("first_seen", MOMENT, nullable=False, server_default=Now()),
    sa.Column("updated_at", MOMENT, nullable=False, server_default=Now()),
)

source_stages = sa.Table(
    "source_stages",
    metadata,
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False, comment="place in the pipeline, from 0"),
    sa.Column("attempt", NUMBER, nullable=False),
    sa.Column("verdict", sa.Text, comment="succeeded, mismatch or failed; empty while it runs"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("claimed", NUMBER, nullable=False),
    sa.Column("observed", NUMBER, nullable=False),
    sa.Column("started_at", MOMENT),
    sa.Column("ended_at", MOMENT),
    sa.Column("evidence", JSON, nullable=False, comment="the two halves that were compared"),
    sa.PrimaryKeyConstraint("source_id", "stage", name="pk_source_stages"),
)
