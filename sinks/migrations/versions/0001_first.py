"""The first schema: all tables."""

import sqlalchemy as sa
from alembic import op

# What these mean never changes; a new meaning gets a new name.
from sinks.schema.base import JSON, MOMENT, NUMBER, Now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "command_stats",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="place in the order of first occurrence, from 0"),
        sa.Column("command_normalized", sa.Text(), nullable=False, comment="once a session"),
        sa.Column("occurrences", NUMBER, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("high_risk", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("sensor", "session_id", "ordinal", name="pk_command_stats"),
    )
    op.create_table(
        "dead_letter_events",
        sa.Column("id", NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False, comment="empty where the source is not known"),
        sa.Column("source_offset", NUMBER, nullable=False, comment="position in the source, else offset in the topic"),
        sa.Column("origin", sa.Text(), nullable=False, comment="read, or the agent or sink that refused it"),
        sa.Column("piece", sa.Integer(), nullable=False, comment="long content comes in several pieces"),
        sa.Column("topic", sa.Text(), nullable=False, comment="the record that held it, where it was in one"),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("metadata_json", JSON, nullable=False),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.Column("resolved", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "source_id", "source_offset", "origin", "piece", "topic", "partition", name="uq_dead_letter_events"
        ),
    )
    op.create_table(
        "files",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column(
            "file_key", sa.Text(), nullable=False, comment="digest of how, shasum, url and name: the row's identity"
        ),
        sa.Column("how", sa.Text(), nullable=False, comment="download, download_failed or upload"),
        sa.Column("shasum", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("file_size", NUMBER, nullable=True),
        sa.Column("download_url", sa.Text(), nullable=False),
        sa.Column("occurrences", NUMBER, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_updated", MOMENT, nullable=True, comment="when it was seen last"),
        sa.Column("vt_classification", sa.Text(), nullable=True),
        sa.Column("vt_description", sa.Text(), nullable=True),
        sa.Column("vt_malicious", sa.Boolean(), nullable=True),
        sa.Column("vt_first_seen", MOMENT, nullable=True),
        sa.Column("vt_last_analysis", MOMENT, nullable=True),
        sa.Column("vt_positives", sa.Integer(), nullable=True),
        sa.Column("vt_total", sa.Integer(), nullable=True),
        sa.Column("vt_scan_date", MOMENT, nullable=True),
        sa.Column("enrichment_status", sa.Text(), server_default="pending", nullable=False),
        sa.PrimaryKeyConstraint("sensor", "session_id", "file_key", name="pk_files"),
    )
    op.create_index("ix_files_shasum", "files", ["shasum"], unique=False, postgresql_using="hash")
    op.create_table(
        "login_attempts",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="place in the order of first occurrence, from 0"),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("occurrences", NUMBER, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("sensor", "session_id", "ordinal", name="pk_login_attempts"),
    )
    op.create_table(
        "raw_events",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False, comment="empty for events of the sensor itself"),
        sa.Column("digest", NUMBER, nullable=False, comment="xxh3-64 of the line: the event's identity in its session"),
        sa.Column("source_id", sa.Text(), nullable=False, comment="the source that brought it first"),
        sa.Column("source_offset", NUMBER, nullable=False, comment="its position there"),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("event_timestamp", MOMENT, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column(
            "raw",
            sa.LargeBinary(),
            nullable=True,
            comment="the exact bytes, where the payload holds visible escapes instead",
        ),
        sa.Column("ingest_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint("sensor", "session_id", "digest", name="pk_raw_events"),
    )
    op.create_index("ix_raw_events_source_id", "raw_events", ["source_id"], unique=False, postgresql_using="brin")
    op.create_table(
        "session_sources",
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "sensor", "session_id", name="pk_session_sources"),
    )
    op.create_table(
        "session_summaries",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("revision", NUMBER, nullable=False, comment="number of distinct events folded; only ever grows"),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.Column("source_port", sa.Integer(), nullable=True),
        sa.Column("dest_ip", sa.Text(), nullable=True),
        sa.Column("dest_port", sa.Integer(), nullable=True),
        sa.Column("protocol", sa.Text(), nullable=True),
        sa.Column("client_version", sa.Text(), nullable=True),
        sa.Column("hassh", sa.Text(), nullable=True),
        sa.Column("arch", sa.Text(), nullable=True),
        sa.Column("first_event_at", MOMENT, nullable=True),
        sa.Column("last_event_at", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("duration_ms", NUMBER, nullable=True),
        sa.Column("event_count", NUMBER, server_default="0", nullable=False),
        sa.Column("command_count", NUMBER, server_default="0", nullable=False),
        sa.Column("commands_failed", NUMBER, server_default="0", nullable=False),
        sa.Column("login_attempts", NUMBER, server_default="0", nullable=False),
        sa.Column("logins_failed", NUMBER, server_default="0", nullable=False),
        sa.Column("logins_succeeded", NUMBER, server_default="0", nullable=False),
        sa.Column(
            "file_downloads",
            NUMBER,
            server_default="0",
            nullable=False,
            comment="downloads and uploads, failed ones too; each has its own column as well",
        ),
        sa.Column("downloads", NUMBER, server_default="0", nullable=False),
        sa.Column("downloads_failed", NUMBER, server_default="0", nullable=False),
        sa.Column("uploads", NUMBER, server_default="0", nullable=False),
        sa.Column("tunnels", NUMBER, server_default="0", nullable=False),
        sa.Column(
            "ssh_key_injections",
            NUMBER,
            server_default="0",
            nullable=False,
            comment="commands that touch authorized_keys",
        ),
        sa.Column("unique_ssh_keys", NUMBER, server_default="0", nullable=False),
        sa.Column("ssh_key_fingerprint", sa.Text(), nullable=True, comment="of the first key that was offered"),
        sa.Column(
            "password_hash",
            sa.Text(),
            nullable=True,
            comment="SHA-256 of the first password that let in, else of the first",
        ),
        sa.Column(
            "command_signature",
            sa.Text(),
            nullable=True,
            comment="SHA-256 of the distinct normalized commands, in order",
        ),
        sa.Column("source_files", JSON, nullable=False, comment="ids of the sources that hold events of the session"),
        sa.Column("kinds", JSON, nullable=False, comment="events by eventid"),
        sa.Column("cut", JSON, nullable=False, comment="what bounds kept out, by list"),
        sa.Column("complete", sa.Boolean(), nullable=False, comment="whether every event's identity is still known"),
        sa.Column("vt_flagged", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("dshield_flagged", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("risk_score", sa.Integer(), nullable=True),
        sa.Column("matcher", sa.Text(), nullable=True),
        sa.Column("snapshot_asn", sa.Integer(), nullable=True),
        sa.Column("snapshot_country", sa.String(length=2), nullable=True),
        sa.Column("snapshot_ip_type", sa.Text(), nullable=True),
        sa.Column("enrichment", JSON, nullable=True),
        sa.Column("enrichment_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.Column("updated_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint("sensor", "session_id", name="pk_session_summaries"),
    )
    op.create_index("ix_session_summaries_first_event_at", "session_summaries", ["first_event_at"], unique=False)
    op.create_table(
        "sink_counters",
        sa.Column("cluster_id", sa.Text(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", NUMBER, nullable=False, comment="the one after the source's last record here"),
        sa.Column("inserted", NUMBER, nullable=False),
        sa.Column("present", NUMBER, nullable=False),
        sa.Column("dead", NUMBER, nullable=False),
        sa.Column("low", NUMBER, nullable=False, comment="every position below it has been counted"),
        sa.Column("seen", sa.LargeBinary(), nullable=False, comment="positions at or above low that have been counted"),
        sa.PrimaryKeyConstraint("cluster_id", "sink", "source_id", "partition", name="pk_sink_counters"),
    )
    op.create_table(
        "sink_offsets",
        sa.Column("cluster_id", sa.Text(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", NUMBER, nullable=False, comment="of the first record that is not in this database"),
        sa.PrimaryKeyConstraint("cluster_id", "sink", "topic", "partition", name="pk_sink_offsets"),
    )
    op.create_table(
        "source_stages",
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="place in the pipeline, from 0"),
        sa.Column("attempt", NUMBER, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True, comment="succeeded, mismatch or failed; empty while it runs"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("claimed", NUMBER, nullable=False),
        sa.Column("observed", NUMBER, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("evidence", JSON, nullable=False, comment="the two halves that were compared"),
        sa.PrimaryKeyConstraint("source_id", "stage", name="pk_source_stages"),
    )
    op.create_table(
        "sources",
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("revision", NUMBER, nullable=False, comment="of the source's state; only ever grows"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="path or address"),
        sa.Column("attempt", NUMBER, nullable=False),
        sa.Column("lines", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
        sa.Column("events", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
        sa.Column("dead_letters", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
        sa.Column("blank", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
        sa.Column("bytes", NUMBER, nullable=False, server_default="0", comment="as claimed; 0 until then"),
        sa.Column("digest", sa.Text(), nullable=True, comment="of the whole content, decompressed"),
        sa.Column("claimed_attempt", NUMBER, nullable=False, comment="the attempt whose claim this row holds, or 0"),
        sa.Column(
            "confirmed_attempt", NUMBER, nullable=False, comment="the attempt that the stages agent knows we hold"
        ),
        sa.Column("heard_at", MOMENT, nullable=True),
        sa.Column("first_seen", MOMENT, server_default=Now(), nullable=False),
        sa.Column("updated_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint("source_id"),
    )
    op.create_table(
        "tallystick_meta",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("projection", sa.Text(), nullable=False, comment="the name of this database in stage events"),
        sa.Column(
            "log", sa.Text(), comment="the Kafka cluster, and the prefix of the topics, that it is a projection of"
        ),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_tallystick_meta_one_row"),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    """Remove all tables with what they hold."""
    for table in (
        "tallystick_meta",
        "sources",
        "source_stages",
        "sink_offsets",
        "sink_counters",
        "session_summaries",
        "session_sources",
        "raw_events",
        "login_attempts",
        "files",
        "dead_letter_events",
        "command_stats",
    ):
        op.drop_table(table)
