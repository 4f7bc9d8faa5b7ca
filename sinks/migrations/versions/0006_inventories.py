"""What is known across sessions: shares of sessions, totals over them; the scores of events; filling again."""

import sqlalchemy as sa
from alembic import op

# What these mean never changes; a new meaning gets a new name.
from sinks.schema.base import JSON, MOMENT, NUMBER, Now

revision = "0006"
down_revision = "0003"
branch_labels = None
depends_on = None

_COMMENTS = (
    ("unique_ssh_keys", "offered or injected", None),
    ("ssh_key_fingerprint", "of the first key that was offered, else injected", "of the first key that was offered"),
    ("risk_score", "the greatest of its events, from 0 to 100", None),
)
"""Comments of columns of `session_summaries`, new and old."""

_STATISTICS = """
CREATE VIEW password_statistics AS
SELECT
    u.date AS date,
    SUM(u.attempts) AS total_attempts,
    COUNT(DISTINCT u.password_hash) AS unique_passwords,
    COUNT(DISTINCT CASE WHEN t.breached THEN u.password_hash END) AS breached_count,
    COUNT(DISTINCT CASE WHEN NOT t.breached THEN u.password_hash END) AS novel_count,
    MAX(t.breach_prevalence) AS max_prevalence
FROM password_session_usage u
JOIN password_tracking t ON t.password_hash = u.password_hash AND t.id = u.password_id
GROUP BY u.date
"""

_EVENTS = """
SELECT
    raw_events.digest AS id,
    {text} AS ingest_id,
    {ingest_at} AS ingest_at,
    sources.name AS source,
    raw_events.source_offset AS source_offset,
    {text} AS source_inode,
    {integer} AS source_generation,
    raw_events.payload{json} AS payload,
    {text} AS payload_hash,
    {score} AS risk_score,
    {no} AS quarantined,
    {session} AS session_id,
    raw_events.event_type AS event_type,
    {event_timestamp} AS event_timestamp
FROM raw_events LEFT JOIN sources ON sources.source_id = raw_events.source_id
WHERE raw_events.session_id {which} ''
"""
"""One half of the view `cp_raw_events`, which until now had no score."""


def upgrade() -> None:
    """Make the tables, and the columns that others gain."""
    op.create_table(
        "session_inventory",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("revision", NUMBER, nullable=False, comment="of the state that the session's share is of"),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.Column("client_version", sa.Text(), nullable=True),
        sa.Column("hassh", sa.Text(), nullable=True),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("sensor", "session_id", name="pk_session_inventory"),
    )
    op.create_index("ix_session_inventory_client_version", "session_inventory", ["client_version"], unique=False)
    op.create_index("ix_session_inventory_hassh", "session_inventory", ["hassh"], unique=False)
    op.create_index("ix_session_inventory_source_ip", "session_inventory", ["source_ip"], unique=False)
    op.create_table(
        "password_session_usage",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("password_id", NUMBER, nullable=False),
        sa.Column("username", sa.Text(), nullable=True, comment="the first that it was used with"),
        sa.Column("success", sa.Boolean(), nullable=False, comment="whether it let in"),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("timestamp", MOMENT, nullable=True, comment="when it was used first in the session"),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("date", sa.Date(), nullable=True, comment="of `timestamp`, UTC"),
        sa.PrimaryKeyConstraint("sensor", "session_id", "password_hash", name="pk_password_session_usage"),
    )
    op.create_index("ix_password_session_usage_date", "password_session_usage", ["date"], unique=False)
    op.create_index("ix_password_session_usage_password_id", "password_session_usage", ["password_id"], unique=False)
    op.create_table(
        "session_ssh_keys",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("ssh_key_id", NUMBER, nullable=False),
        sa.Column(
            "key_comment", sa.Text(), nullable=True, comment="the first in the alphabet, where there are several"
        ),
        sa.Column("injection_method", sa.Text(), nullable=False, comment="how it was written; likewise"),
        sa.Column("target_path", sa.Text(), nullable=False, comment="likewise"),
        sa.Column("occurrences", NUMBER, nullable=False, comment="commands that would inject it"),
        sa.Column("timestamp", MOMENT, nullable=True, comment="of the first of them"),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sensor", "session_id", "key_hash", name="pk_session_ssh_keys"),
    )
    op.create_index(
        "ix_session_ssh_keys_ssh_key_id_source_ip", "session_ssh_keys", ["ssh_key_id", "source_ip"], unique=False
    )
    op.create_table(
        "session_ssh_key_pairs",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("key_id_1", NUMBER, nullable=False, comment="the lower of the two"),
        sa.Column("key_id_2", NUMBER, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True, comment="when both had been seen in the session"),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sensor", "session_id", "key_id_1", "key_id_2", name="pk_session_ssh_key_pairs"),
    )
    op.create_index(
        "ix_session_ssh_key_pairs_keys_source_ip",
        "session_ssh_key_pairs",
        ["key_id_1", "key_id_2", "source_ip"],
        unique=False,
    )
    op.create_table(
        "session_tunnels",
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("dst_ip", sa.Text(), nullable=False, comment="address or name, as it was asked for"),
        sa.Column("dst_port", sa.Integer(), nullable=False, comment="-1 where none was told"),
        sa.Column("requests", NUMBER, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("sensor", "session_id", "dst_ip", "dst_port", name="pk_session_tunnels"),
    )
    op.create_index("ix_session_tunnels_dst_ip_dst_port", "session_tunnels", ["dst_ip", "dst_port"], unique=False)
    op.create_table(
        "ip_inventory",
        sa.Column("ip_address", sa.Text(), nullable=False),
        sa.Column("current_asn", sa.Integer(), nullable=True),
        sa.Column("asn_last_verified", MOMENT, nullable=True),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("session_count", NUMBER, server_default="0", nullable=False),
        sa.Column("is_scanner", sa.Boolean(), nullable=True),
        sa.Column("is_bogon", sa.Boolean(), nullable=True),
        sa.Column("is_datacenter", sa.Boolean(), nullable=True),
        sa.Column("is_residential", sa.Boolean(), nullable=True),
        sa.Column("geo_country", sa.String(length=2), nullable=True),
        sa.Column("ip_types", JSON, nullable=True),
        sa.Column("enrichment", JSON, nullable=True),
        sa.Column("enrichment_updated_at", MOMENT, nullable=True),
        sa.Column("enrichment_version", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.Column("updated_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint("ip_address", name="pk_ip_inventory"),
    )
    op.create_table(
        "client_versions",
        sa.Column("client_version", sa.Text(), nullable=False),
        sa.Column("session_count", NUMBER, server_default="0", nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("client_version", name="pk_client_versions"),
    )
    op.create_table(
        "hassh_inventory",
        sa.Column("hassh", sa.Text(), nullable=False),
        sa.Column("session_count", NUMBER, server_default="0", nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("hassh", name="pk_hassh_inventory"),
    )
    op.create_table(
        "password_tracking",
        sa.Column("id", NUMBER, nullable=False, comment="the first 63 bits of the hash"),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="SHA-256 of the text in UTF-8"),
        sa.Column("password_text", sa.Text(), nullable=False, comment="as it was tried, up to 255 characters"),
        sa.Column("breached", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("breach_prevalence", sa.Integer(), nullable=True),
        sa.Column("last_hibp_check", MOMENT, nullable=True),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("times_seen", NUMBER, server_default="0", nullable=False),
        sa.Column("unique_sessions", NUMBER, server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.Column("updated_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint("password_hash", "id", name="pk_password_tracking"),
    )
    op.create_index("ix_password_tracking_id", "password_tracking", ["id"], unique=False)
    op.create_table(
        "ssh_key_intelligence",
        sa.Column("id", NUMBER, nullable=False, comment="the first 63 bits of the hash"),
        sa.Column("key_hash", sa.Text(), nullable=False, comment="SHA-256 of the key's content"),
        sa.Column("key_type", sa.Text(), nullable=False),
        sa.Column("key_data", sa.Text(), nullable=False, comment="base64 of the content"),
        sa.Column("key_full", sa.Text(), nullable=False, comment="type and data, as a line of authorized_keys begins"),
        sa.Column("key_fingerprint", sa.Text(), nullable=False, comment="as ssh-keygen shows it"),
        sa.Column("key_fingerprint_md5", sa.Text(), nullable=False, comment="in the old form"),
        sa.Column("key_bits", sa.Integer(), nullable=True, comment="empty where the key is not whole"),
        sa.Column("key_complete", sa.Boolean(), nullable=False, comment="false for what was cut short"),
        sa.Column(
            "key_comment", sa.Text(), nullable=True, comment="the first in the alphabet, where there are several"
        ),
        sa.Column(
            "pattern_type",
            sa.Text(),
            nullable=True,
            comment="direct_echo, printf, heredoc, base64_encoded or script; the first likewise",
        ),
        sa.Column("target_path", sa.Text(), nullable=True, comment="likewise"),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.Column("total_attempts", NUMBER, server_default="0", nullable=False),
        sa.Column("unique_sources", NUMBER, server_default="0", nullable=False, comment="distinct addresses"),
        sa.Column("unique_sessions", NUMBER, server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.Column("updated_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", "id", name="pk_ssh_key_intelligence"),
    )
    op.create_index("ix_ssh_key_intelligence_id", "ssh_key_intelligence", ["id"], unique=False)
    op.create_index(
        "ix_ssh_key_intelligence_key_fingerprint", "ssh_key_intelligence", ["key_fingerprint"], unique=False
    )
    op.create_table(
        "ssh_key_associations",
        sa.Column("key_id_1", NUMBER, nullable=False, comment="the lower of the two"),
        sa.Column("key_id_2", NUMBER, nullable=False),
        sa.Column(
            "co_occurrence_count", NUMBER, server_default="0", nullable=False, comment="sessions that injected both"
        ),
        sa.Column("same_session_count", NUMBER, server_default="0", nullable=False, comment="the same"),
        sa.Column(
            "same_ip_count", NUMBER, server_default="0", nullable=False, comment="distinct addresses of these sessions"
        ),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("key_id_1", "key_id_2", name="pk_ssh_key_associations"),
    )
    op.create_table(
        "tunnel_targets",
        sa.Column("dst_ip", sa.Text(), nullable=False, comment="address or name, as it was asked for"),
        sa.Column("dst_port", sa.Integer(), nullable=False, comment="-1 where none was told"),
        sa.Column("requests", NUMBER, server_default="0", nullable=False),
        sa.Column("session_count", NUMBER, server_default="0", nullable=False),
        sa.Column("first_seen", MOMENT, nullable=True),
        sa.Column("last_seen", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("dst_ip", "dst_port", name="pk_tunnel_targets"),
    )
    op.execute(_STATISTICS)
    if op.get_context().dialect.name == "postgresql":
        for column, comment, _ in _COMMENTS:
            op.alter_column("session_summaries", column, comment=comment)
    op.add_column("raw_events", sa.Column("risk_score", sa.Integer(), nullable=True, comment="from 0 to 100"))
    op.add_column(
        "sink_offsets",
        sa.Column(
            "refill_to",
            NUMBER,
            server_default="0",
            nullable=False,
            comment="while next_offset is below, the sink's tables are being filled again",
        ),
    )
    _show_events("raw_events.risk_score")


def downgrade() -> None:
    """Remove them with what they hold."""
    _show_events(None)
    if op.get_context().dialect.name == "postgresql":
        for column, _, comment in _COMMENTS:
            op.alter_column("session_summaries", column, comment=comment)
    op.drop_column("sink_offsets", "refill_to")
    op.drop_column("raw_events", "risk_score")
    op.execute("DROP VIEW password_statistics")
    for table in (
        "tunnel_targets",
        "ssh_key_associations",
        "ssh_key_intelligence",
        "password_tracking",
        "hassh_inventory",
        "client_versions",
        "ip_inventory",
        "session_tunnels",
        "session_ssh_key_pairs",
        "session_ssh_keys",
        "password_session_usage",
        "session_inventory",
    ):
        op.drop_table(table)


def _show_events(score: str | None) -> None:
    """Make the view `cp_raw_events` anew, with the column `score`, or with none."""
    postgresql = op.get_context().dialect.name == "postgresql"
    terms = {
        "text": "CAST(NULL AS text)" if postgresql else "NULL",
        "integer": "CAST(NULL AS integer)" if postgresql else "NULL",
        "json": "::json" if postgresql else "",
        "no": "false" if postgresql else "0",
    } | {
        column: f"raw_events.{column}" if postgresql else f"replace(substr(raw_events.{column}, 1, 26), 'T', ' ')"
        for column in ("ingest_at", "event_timestamp")
    }
    terms["score"] = score or terms["integer"]
    # In two parts, so that the key's index is used for one session.
    halves = (("raw_events.session_id", "<>"), (terms["text"], "="))
    op.execute("DROP VIEW cp_raw_events")
    op.execute(
        "CREATE VIEW cp_raw_events AS"
        + " UNION ALL ".join(_EVENTS.format(session=session, which=which, **terms) for session, which in halves)
    )
