"""What is known across sessions: a share of each session, and totals that are the sum of the shares.

Whatever a session tells of others stands in its share, under its key. So a newer state of a session can replace its
share, and the totals move by the difference. Columns that no sink fills belong to enrichment.
"""

import sqlalchemy as sa

from sinks.schema.base import JSON, MOMENT, NUMBER, Now, count_column, metadata, session_columns

PASSWORD_STATISTICS = "password_statistics"  # noqa: S105
"""The view over `password_session_usage`, whose statement is in the migration that makes it."""


def _written() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("created_at", MOMENT, nullable=False, server_default=Now()),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=Now()),
    )


session_inventory = sa.Table(
    "session_inventory",
    metadata,
    *session_columns(),
    sa.Column("revision", NUMBER, nullable=False, comment="of the state that the session's share is of"),
    sa.Column("source_ip", sa.Text),
    sa.Column("client_version", sa.Text),
    sa.Column("hassh", sa.Text),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("sensor", "session_id", name="pk_session_inventory"),
    sa.Index("ix_session_inventory_source_ip", "source_ip"),
    sa.Index("ix_session_inventory_client_version", "client_version"),
    sa.Index("ix_session_inventory_hassh", "hassh"),
)

password_session_usage = sa.Table(
    "password_session_usage",
    metadata,
    *session_columns(),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("password_id", NUMBER, nullable=False),
    sa.Column("username", sa.Text, comment="the first that it was used with"),
    sa.Column("success", sa.Boolean, nullable=False, comment="whether it let in"),
    sa.Column("attempts", NUMBER, nullable=False),
    sa.Column("timestamp", MOMENT, comment="when it was used first in the session"),
    sa.Column("last_seen", MOMENT),
    sa.Column("date", sa.Date, comment="of `timestamp`, UTC"),
    sa.PrimaryKeyConstraint("sensor", "session_id", "password_hash", name="pk_password_session_usage"),
    sa.Index("ix_password_session_usage_password_id", "password_id"),
    sa.Index("ix_password_session_usage_date", "date"),
)

session_ssh_keys = sa.Table(
    "session_ssh_keys",
    metadata,
    *session_columns(),
    sa.Column("key_hash", sa.Text, nullable=False),
    sa.Column("ssh_key_id", NUMBER, nullable=False),
    sa.Column("key_comment", sa.Text, comment="the first in the alphabet, where there are several"),
    sa.Column("injection_method", sa.Text, nullable=False, comment="how it was written; likewise"),
    sa.Column("target_path", sa.Text, nullable=False, comment="likewise"),
    sa.Column("occurrences", NUMBER, nullable=False, comment="commands that would inject it"),
    sa.Column("timestamp", MOMENT, comment="of the first of them"),
    sa.Column("last_seen", MOMENT),
    sa.Column("source_ip", sa.Text),
    sa.PrimaryKeyConstraint("sensor", "session_id", "key_hash", name="pk_session_ssh_keys"),
    sa.Index("ix_session_ssh_keys_ssh_key_id_source_ip", "ssh_key_id", "source_ip"),
)

session_ssh_key_pairs = sa.Table(
    "session_ssh_key_pairs",
    metadata,
    *session_columns(),
    sa.Column("key_id_1", NUMBER, nullable=False, comment="the lower of the two"),
    sa.Column("key_id_2", NUMBER, nullable=False),
    sa.Column("first_seen", MOMENT, comment="when both had been seen in the session"),
    sa.Column("last_seen", MOMENT),
    sa.Column("source_ip", sa.Text),
    sa.PrimaryKeyConstraint("sensor", "session_id", "key_id_1", "key_id_2", name="pk_session_ssh_key_pairs"),
    sa.Index("ix_session_ssh_key_pairs_keys_source_ip", "key_id_1", "key_id_2", "source_ip"),
)

session_tunnels = sa.Table(
    "session_tunnels",
    metadata,
    *session_columns(),
    sa.Column("dst_ip", sa.Text, nullable=False, comment="address or name, as it was asked for"),
    sa.Column("dst_port", sa.Integer, nullable=False, comment="-1 where none was told"),
    sa.Column("requests", NUMBER, nullable=False),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("sensor", "session_id", "dst_ip", "dst_port", name="pk_session_tunnels"),
    sa.Index("ix_session_tunnels_dst_ip_dst_port", "dst_ip", "dst_port"),
)

ip_inventory = sa.Table(
    "ip_inventory",
    metadata,
    sa.Column("ip_address", sa.Text, nullable=False),
    sa.Column("current_asn", sa.Integer),
    sa.Column("asn_last_verified", MOMENT),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    count_column("session_count"),
    sa.Column("is_scanner", sa.Boolean),
    sa.Column("is_bogon", sa.Boolean),
    sa.Column("is_datacenter", sa.Boolean),
    sa.Column("is_residential", sa.Boolean),
    sa.Column("geo_country", sa.String(2)),
    sa.Column("ip_types", JSON),
    sa.Column("enrichment", JSON),
    sa.Column("enrichment_updated_at", MOMENT),
    sa.Column("enrichment_version", sa.Text),
    *_written(),
    sa.PrimaryKeyConstraint("ip_address", name="pk_ip_inventory"),
)

client_versions = sa.Table(
    "client_versions",
    metadata,
    sa.Column("client_version", sa.Text, nullable=False),
    count_column("session_count"),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("client_version", name="pk_client_versions"),
)

hassh_inventory = sa.Table(
    "hassh_inventory",
    metadata,
    sa.Column("hassh", sa.Text, nullable=False),
    count_column("session_count"),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("hassh", name="pk_hassh_inventory"),
)

password_tracking = sa.Table(
    "password_tracking",
    metadata,
    sa.Column("id", NUMBER, nullable=False, comment="the first 63 bits of the hash"),
    sa.Column("password_hash", sa.Text, nullable=False, comment="SHA-256 of the text in UTF-8"),
    sa.Column("password_text", sa.Text, nullable=False, comment="as it was tried, up to 255 characters"),
    sa.Column("breached", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("breach_prevalence", sa.Integer),
    sa.Column("last_hibp_check", MOMENT),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    count_column("times_seen"),
    count_column("unique_sessions"),
    *_written(),
    sa.PrimaryKeyConstraint("password_hash", "id", name="pk_password_tracking"),
    sa.Index("ix_password_tracking_id", "id"),
)

ssh_key_intelligence = sa.Table(
    "ssh_key_intelligence",
    metadata,
    sa.Column("id", NUMBER, nullable=False, comment="the first 63 bits of the hash"),
    sa.Column("key_hash", sa.Text, nullable=False, comment="SHA-256 of the key's content"),
    sa.Column("key_type", sa.Text, nullable=False),
    sa.Column("key_data", sa.Text, nullable=False, comment="base64 of the content"),
    sa.Column("key_full", sa.Text, nullable=False, comment="type and data, as a line of authorized_keys begins"),
    sa.Column("key_fingerprint", sa.Text, nullable=False, comment="as ssh-keygen shows it"),
    sa.Column("key_fingerprint_md5", sa.Text, nullable=False, comment="in the old form"),
    sa.Column("key_bits", sa.Integer, comment="empty where the key is not whole"),
    sa.Column("key_complete", sa.Boolean, nullable=False, comment="false for what was cut short"),
    sa.Column("key_comment", sa.Text, comment="the first in the alphabet, where there are several"),
    sa.Column(
        "pattern_type", sa.Text, comment="direct_echo, printf, heredoc, base64_encoded or script; the first likewise"
    ),
    sa.Column("target_path", sa.Text, comment="likewise"),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    count_column("total_attempts"),
    count_column("unique_sources", "distinct addresses"),
    count_column("unique_sessions"),
    *_written(),
    sa.PrimaryKeyConstraint("key_hash", "id", name="pk_ssh_key_intelligence"),
    sa.Index("ix_ssh_key_intelligence_id", "id"),
    sa.Index("ix_ssh_key_intelligence_key_fingerprint", "key_fingerprint"),
)

ssh_key_associations = sa.Table(
    "ssh_key_associations",
    metadata,
    sa.Column("key_id_1", NUMBER, nullable=False, comment="the lower of the two"),
    sa.Column("key_id_2", NUMBER, nullable=False),
    count_column("co_occurrence_count", "sessions that injected both"),
    count_column("same_session_count", "the same"),
    count_column("same_ip_count", "distinct addresses of these sessions"),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("key_id_1", "key_id_2", name="pk_ssh_key_associations"),
)

tunnel_targets = sa.Table(
    "tunnel_targets",
    metadata,
    sa.Column("dst_ip", sa.Text, nullable=False, comment="address or name, as it was asked for"),
    sa.Column("dst_port", sa.Integer, nullable=False, comment="-1 where none was told"),
    count_column("requests"),
    count_column("session_count"),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("dst_ip", "dst_port", name="pk_tunnel_targets"),
)
