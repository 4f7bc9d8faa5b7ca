"""Sessions, and what happened in them.

The columns from `vt_flagged` to `enrichment_at` are for enrichment, but for the score.
"""

import sqlalchemy as sa

from sinks.schema.base import JSON, MOMENT, NUMBER, Now, count_column, metadata, session_columns

session_summaries = sa.Table(
    "session_summaries",
    metadata,
    *session_columns(),
    sa.Column("revision", NUMBER, nullable=False, comment="number of distinct events folded; only ever grows"),
    sa.Column("source_ip", sa.Text),
    sa.Column("source_port", sa.Integer),
    sa.Column("dest_ip", sa.Text),
    sa.Column("dest_port", sa.Integer),
    sa.Column("protocol", sa.Text),
    sa.Column("client_version", sa.Text),
    sa.Column("hassh", sa.Text),
    sa.Column("arch", sa.Text),
    sa.Column("first_event_at", MOMENT),
    sa.Column("last_event_at", MOMENT),
    sa.Column("closed_at", MOMENT),
    sa.Column("duration_ms", NUMBER),
    count_column("event_count"),
    count_column("command_count"),
    count_column("commands_failed"),
    count_column("login_attempts"),
    count_column("logins_failed"),
    count_column("logins_succeeded"),
    count_column("file_downloads", "downloads and uploads, failed ones too; each has its own column as well"),
    count_column("downloads"),
    count_column("downloads_failed"),
    count_column("uploads"),
    count_column("tunnels"),
    count_column("ssh_key_injections", "commands that touch authorized_keys"),
    count_column("unique_ssh_keys", "offered or injected"),
    sa.Column("ssh_key_fingerprint", sa.Text, comment="of the first key that was offered, else injected"),
    sa.Column("password_hash", sa.Text, comment="SHA-256 of the first password that let in, else of the first"),
    sa.Column("command_signature", sa.Text, comment="SHA-256 of the distinct normalized commands, in order"),
    sa.Column("source_files", JSON, nullable=False, comment="ids of the sources that hold events of the session"),
    sa.Column("kinds", JSON, nullable=False, comment="events by eventid"),
    sa.Column("cut", JSON, nullable=False, comment="what bounds kept out, by list"),
    sa.Column("complete", sa.Boolean, nullable=False, comment="whether every event's identity is still known"),
    sa.Column("vt_flagged", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("dshield_flagged", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("risk_score", sa.Integer, comment="the greatest of its events, from 0 to 100"),
    sa.Column("matcher", sa.Text),
    sa.Column("snapshot_asn", sa.Integer),
    sa.Column("snapshot_country", sa.String(2)),
    sa.Column("snapshot_ip_type", sa.Text),
    sa.Column("enrichment", JSON),
    sa.Column("enrichment_at", MOMENT),
    sa.Column("created_at", MOMENT, nullable=False, server_default=Now()),
    sa.Column("updated_at", MOMENT, nullable=False, server_default=Now()),
    sa.PrimaryKeyConstraint("sensor", "session_id", name="pk_session_summaries"),
    sa.Index("ix_session_summaries_first_event_at", "first_event_at"),
)

command_stats = sa.Table(
    "command_stats",
    metadata,
    *session_columns(),
    sa.Column("ordinal", sa.Integer, nullable=False, comment="place in the order of first occurrence, from 0"),
    sa.Column("command_normalized", sa.Text, nullable=False, comment="once a session"),
    sa.Column("occurrences", NUMBER, nullable=False),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.Column("high_risk", sa.Boolean, nullable=False),
    sa.PrimaryKeyConstraint("sensor", "session_id", "ordinal", name="pk_command_stats"),
)

login_attempts = sa.Table(
    "login_attempts",
    metadata,
    *session_columns(),
    sa.Column("ordinal", sa.Integer, nullable=False, comment="place in the order of first occurrence, from 0"),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("succeeded", sa.Boolean, nullable=False),
    sa.Column("occurrences", NUMBER, nullable=False),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_seen", MOMENT),
    sa.PrimaryKeyConstraint("sensor", "session_id", "ordinal", name="pk_login_attempts"),
)

files = sa.Table(
    "files",
    metadata,
    *session_columns(),
    sa.Column("file_key", sa.Text, nullable=False, comment="digest of how, shasum, url and name: the row's identity"),
    sa.Column("how", sa.Text, nullable=False, comment="download, download_failed or upload"),
    sa.Column("shasum", sa.Text, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("file_size", NUMBER),
    sa.Column("download_url", sa.Text, nullable=False),
    sa.Column("occurrences", NUMBER, nullable=False),
    sa.Column("first_seen", MOMENT),
    sa.Column("last_updated", MOMENT, comment="when it was seen last"),
    sa.Column("vt_classification", sa.Text),
    sa.Column("vt_description", sa.Text),
    sa.Column("vt_malicious", sa.Boolean),
    sa.Column("vt_first_seen", MOMENT),
    sa.Column("vt_last_analysis", MOMENT),
    sa.Column("vt_positives", sa.Integer),
    sa.Column("vt_total", sa.Integer),
    sa.Column("vt_scan_date", MOMENT),
    sa.Column("enrichment_status", sa.Text, nullable=False, server_default="pending"),
    sa.PrimaryKeyConstraint("sensor", "session_id", "file_key", name="pk_files"),
    # A hash index takes text of any length, which comes from attackers.
    sa.Index("ix_files_shasum", "shasum", postgresql_using="hash"),
)

session_sources = sa.Table(
    "session_sources",
    metadata,
    sa.Column("source_id", sa.Text, nullable=False),
    *session_columns(),
    sa.PrimaryKeyConstraint("source_id", "sensor", "session_id", name="pk_session_sources"),
)
