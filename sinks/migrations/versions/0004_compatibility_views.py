"""Views for queries that were written for cowrieprocessor: its columns, with its names and types.

A column for which there is nothing is NULL. On SQLite times are text as SQLAlchemy writes it there, which is what
cowrieprocessor stored: with a space, and without a zone.
"""

from alembic import op

revision = "0004"
down_revision = "0001"
branch_labels = None
depends_on = None

_VIEWS = (
    "cp_raw_events",
    "cp_session_summaries",
    "cp_command_stats",
    "cp_files",
    "cp_dead_letter_events",
    "cp_ingest_cursors",
)
_TIMES = {
    "raw_events": ("ingest_at", "event_timestamp"),
    "session_summaries": ("first_event_at", "last_event_at", "enrichment_at", "created_at", "updated_at"),
    "command_stats": ("first_seen", "last_seen"),
    "files": ("vt_first_seen", "vt_last_analysis", "vt_scan_date", "first_seen", "last_updated"),
    "dead_letter_events": ("created_at", "resolved_at"),
    "sources": ("updated_at",),
}


def upgrade() -> None:
    """Make the views."""
    dialect = op.get_bind().dialect.name
    for statement in (_RAW_EVENTS, _SESSION_SUMMARIES, _COMMAND_STATS, _FILES, _DEAD_LETTER_EVENTS, _INGEST_CURSORS):
        op.execute(statement.format(**_terms(dialect)))


def downgrade() -> None:
    """Remove the views."""
    for name in reversed(_VIEWS):
        op.execute(f"DROP VIEW {name}")


def _terms(dialect: str) -> dict[str, str]:
    """Return what the two databases say differently, by its name in the statements."""
    postgresql = dialect == "postgresql"
    times = {
        f"{table}__{column}": f"{table}.{column}"
        if postgresql
        else f"replace(substr({table}.{column}, 1, 26), 'T', ' ')"
        for table, columns in _TIMES.items()
        for column in columns
    }
    if postgresql:
        return {
            **times,
            "integer": "CAST(NULL AS integer)",
            "text": "CAST(NULL AS text)",
            "nothing_json": "CAST(NULL AS json)",
            "json": "::json",
            "no": "false",
            "content": "json_build_object('malformed_content', encode(dead_letter_events.payload, 'escape'))",
        }
    return {
        **times,
        "integer": "NULL",
        "text": "NULL",
        "nothing_json": "NULL",
        "json": "",
        "no": "0",
        "content": "json_object('malformed_content_hex', hex(dead_letter_events.payload))",
    }


_EVENTS = """
SELECT
    raw_events.digest AS id,
    {text} AS ingest_id,
    {raw_events__ingest_at} AS ingest_at,
    sources.name AS source,
    raw_events.source_offset AS source_offset,
    {text} AS source_inode,
    {integer} AS source_generation,
    raw_events.payload{json} AS payload,
    {text} AS payload_hash,
    {integer} AS risk_score,
    {no} AS quarantined,
    SESSION AS session_id,
    raw_events.event_type AS event_type,
    {raw_events__event_timestamp} AS event_timestamp
FROM raw_events LEFT JOIN sources ON sources.source_id = raw_events.source_id
"""

# In two parts, so that the key's index is used for one session: with `nullif` in one query it would not be.
_RAW_EVENTS = f"""
CREATE VIEW cp_raw_events AS
{_EVENTS.replace("SESSION", "raw_events.session_id")} WHERE raw_events.session_id <> ''
UNION ALL
{_EVENTS.replace("SESSION", "{text}")} WHERE raw_events.session_id = ''
"""

_SESSION_SUMMARIES = """
CREATE VIEW cp_session_summaries AS
SELECT
    session_id,
    source_ip,
    {session_summaries__first_event_at} AS first_event_at,
    {session_summaries__last_event_at} AS last_event_at,
    event_count,
    command_count,
    file_downloads,
    login_attempts,
    ssh_key_injections,
    unique_ssh_keys,
    vt_flagged,
    dshield_flagged,
    risk_score,
    matcher,
    source_files{json} AS source_files,
    ssh_key_fingerprint,
    password_hash,
    command_signature,
    snapshot_asn,
    snapshot_country,
    snapshot_ip_type,
    enrichment{json} AS enrichment,
    {session_summaries__enrichment_at} AS enrichment_at,
    {session_summaries__created_at} AS created_at,
    {session_summaries__updated_at} AS updated_at
FROM session_summaries
"""

_COMMAND_STATS = """
CREATE VIEW cp_command_stats AS
SELECT
    {integer} AS id,
    session_id,
    command_normalized,
    occurrences,
    {command_stats__first_seen} AS first_seen,
    {command_stats__last_seen} AS last_seen,
    high_risk
FROM command_stats
"""

# One row for each checksum in a session, as there: of several rows of ours it is the earliest that is shown.
_FILES = """
CREATE VIEW cp_files AS
SELECT
    {integer} AS id,
    files.session_id AS session_id,
    files.shasum AS shasum,
    nullif(files.filename, '') AS filename,
    files.file_size AS file_size,
    nullif(files.download_url, '') AS download_url,
    files.vt_classification AS vt_classification,
    files.vt_description AS vt_description,
    files.vt_malicious AS vt_malicious,
    {files__vt_first_seen} AS vt_first_seen,
    {files__vt_last_analysis} AS vt_last_analysis,
    files.vt_positives AS vt_positives,
    files.vt_total AS vt_total,
    {files__vt_scan_date} AS vt_scan_date,
    {files__first_seen} AS first_seen,
    {files__last_updated} AS last_updated,
    files.enrichment_status AS enrichment_status
FROM (
    SELECT
        every.sensor, every.session_id, every.shasum, every.filename, every.file_size, every.download_url,
        every.vt_classification, every.vt_description, every.vt_malicious, every.vt_first_seen,
        every.vt_last_analysis, every.vt_positives, every.vt_total, every.vt_scan_date, every.enrichment_status,
        every.first_seen,
        max(every.last_updated) OVER (PARTITION BY every.sensor, every.session_id, every.shasum) AS last_updated,
        row_number() OVER (
            PARTITION BY every.sensor, every.session_id, every.shasum ORDER BY every.first_seen, every.file_key
        ) AS place
    FROM files AS every
    WHERE every.shasum <> ''
) AS files
WHERE files.place = 1
"""

_DEAD_LETTER_EVENTS = """
CREATE VIEW cp_dead_letter_events AS
SELECT
    dead_letter_events.id AS id,
    {text} AS ingest_id,
    sources.name AS source,
    dead_letter_events.source_offset AS source_offset,
    dead_letter_events.reason AS reason,
    {content} AS payload,
    dead_letter_events.metadata_json{json} AS metadata_json,
    {dead_letter_events__created_at} AS created_at,
    dead_letter_events.resolved AS resolved,
    {dead_letter_events__resolved_at} AS resolved_at
FROM dead_letter_events LEFT JOIN sources ON sources.source_id = dead_letter_events.source_id
WHERE dead_letter_events.piece = 0
"""

# A path is one row there, and holds another source after each rotation: the newest one is shown.
_INGEST_CURSORS = """
CREATE VIEW cp_ingest_cursors AS
SELECT
    sources.name AS source,
    {text} AS inode,
    sources.bytes AS last_offset,
    {sources__updated_at} AS last_ingest_at,
    {text} AS last_ingest_id,
    {nothing_json} AS metadata_json
FROM (
    SELECT
        every.name, every.bytes, every.updated_at,
        row_number() OVER (PARTITION BY every.name ORDER BY every.updated_at DESC, every.source_id) AS place
    FROM sources AS every
) AS sources
WHERE sources.place = 1
"""
