"""Views for queries that were written for ntt: its tables' names and columns, and a function for its partitions.

A column for which there is nothing is NULL. Shown is what the newest attempt at each medium has found.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_VIEWS = ("medium", "inode", "path", "blobs")


def upgrade() -> None:
    """Make the views, and on PostgreSQL the function."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in (_MEDIUM, _INODE, _PATH, _BLOBS):
        op.execute(statement.format(**(_POSTGRESQL if postgresql else _SQLITE)))
    if postgresql:
        op.execute(_INODE_P)


def downgrade() -> None:
    """Remove them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION inode_p(text)")
    for name in reversed(_VIEWS):
        op.execute(f"DROP VIEW {name}")


_POSTGRESQL = {
    "image": "encode(m.image, 'escape')",
    "nothing": "''",
    "bytes": "CAST(s.evidence #>> '{report,found,bytes}' AS bigint)",
    "bad": "CAST(s.evidence #>> '{report,found,bad_bytes}' AS bigint)",
    "object": "jsonb_object_agg",
    "letter": "char(1)",
    "text": "CAST(NULL AS text)",
    "flag": "CAST(NULL AS boolean)",
    "time": "CAST(NULL AS timestamptz)",
    "no": "false",
    "list": "ARRAY[c.error || ': ' || c.detail]",
}
_SQLITE = {
    "image": "m.image",
    "nothing": "x''",
    "bytes": "json_extract(s.evidence, '$.report.found.bytes')",
    "bad": "json_extract(s.evidence, '$.report.found.bad_bytes')",
    "object": "json_group_object",
    "letter": "text",
    "text": "NULL",
    "flag": "NULL",
    "time": "NULL",
    "no": "0",
    "list": "json_array(c.error || ': ' || c.detail)",
}

# A subquery of no rows is NULL; an object that is made of none would not be.
_MEDIUM = """
CREATE VIEW medium AS
SELECT
    m.medium AS medium_hash,
    m.name AS medium_human,
    nullif(m.message, '') AS message,
    nullif({image}, {nothing}) AS image_path,
    (SELECT s.ended_at FROM source_stages s
     WHERE s.source_id = m.medium AND s.stage = 'loaded' AND s.verdict = 'succeeded') AS enum_done,
    (SELECT s.ended_at FROM source_stages s
     WHERE s.source_id = m.medium AND s.stage = 'copied' AND s.verdict = 'succeeded') AS copy_done,
    m.added_at AS added_at,
    (SELECT CASE
         WHEN {bad} = 0 THEN 'ok'
         WHEN {bad} * 10 <= {bytes} THEN 'incomplete'
         WHEN {bad} * 10 <= {bytes} * 8 THEN 'corrupt'
         WHEN {bad} > 0 THEN 'failed'
     END
     FROM source_stages s
     WHERE s.source_id = m.medium AND s.stage = 'imaged' AND s.verdict = 'succeeded') AS health,
    (SELECT {object}(found.kind, found.number)
     FROM (
         SELECT p.kind AS kind, count(*) AS number
         FROM media_problems p
         WHERE p.medium = m.medium AND p.revision = m.revision
         GROUP BY p.kind
         UNION ALL
         SELECT coalesce(c.error, 'unknown'), count(*)
         FROM media_copies c JOIN media_inodes i ON i.medium = c.medium AND i.part = c.part AND i.ino = c.ino
         WHERE c.medium = m.medium AND c.status <> 'success' AND i.revision = m.revision
         GROUP BY coalesce(c.error, 'unknown')
     ) AS found
     HAVING count(*) > 0) AS problems,
    (SELECT {object}(s.stage, s.reason) FROM source_stages s
     WHERE s.source_id = m.medium AND s.reason <> '' HAVING count(*) > 0) AS diagnostics
FROM media m
"""

# A success is of the inode as it is now, or it is none.
_COPY = """
LEFT JOIN media_copies c ON c.medium = i.medium AND c.part = i.part AND c.ino = i.ino
    AND (
        c.status <> 'success'
        OR c.size = i.size AND (c.mtime IS NULL OR c.mtime = i.mtime AND c.mtime_ns = i.mtime_ns)
    )
"""
_EXCLUDED = """
NOT EXISTS (
    SELECT 1 FROM media_paths p
    WHERE p.medium = i.medium AND p.part = i.part AND p.ino = i.ino AND p.revision = i.revision AND p.excluded = ''
)
"""
_INODE = f"""
CREATE VIEW inode AS
SELECT
    i.medium AS medium_hash,
    i.dev AS dev,
    i.ino AS ino,
    i.nlink AS nlink,
    i.size AS size,
    i.mtime AS mtime,
    CAST(i.type AS {{letter}}) AS fs_type,
    c.blobid AS blobid,
    {{text}} AS mime_type,
    coalesce(c.status = 'success', {{no}}) AS copied,
    substr(c.blobid, 1, 2) || '/' || substr(c.blobid, 3, 2) || '/' || c.blobid AS copied_to,
    c.created AS by_hash_created,
    CASE WHEN i.type <> 'f' THEN 'NON_FILE' WHEN {_EXCLUDED} THEN 'EXCLUDED' END AS claimed_by,
    {{time}} AS claimed_at,
    c.copied_at AS processed_at,
    CASE WHEN c.error IS NOT NULL THEN {{list}} END AS errors,
    CASE
        WHEN i.type <> 'f' THEN 'non_file'
        WHEN {_EXCLUDED} THEN 'excluded'
        ELSE coalesce(c.status, 'pending')
    END AS status,
    c.error AS error_type,
    i.part AS part
FROM media_inodes i JOIN media m ON m.medium = i.medium AND m.revision = i.revision
{_COPY}
"""  # noqa: S608

_PATH = f"""
CREATE VIEW path AS
SELECT
    p.medium AS medium_hash,
    i.dev AS dev,
    p.ino AS ino,
    p.path AS path,
    {{flag}} AS broken,
    c.blobid AS blobid,
    nullif(p.excluded, '') AS exclude_reason,
    p.part AS part
FROM media_paths p
JOIN media m ON m.medium = p.medium AND m.revision = p.revision
JOIN media_inodes i ON i.medium = p.medium AND i.part = p.part AND i.ino = p.ino
{_COPY}
"""  # noqa: S608

_BLOBS = """
CREATE VIEW blobs AS
SELECT
    b.blobid AS blobid,
    {time} AS last_checked,
    b.created_at AS created_at,
    (SELECT count(*)
     FROM media_copies c
     JOIN media m ON m.medium = c.medium
     JOIN media_paths p ON p.medium = c.medium AND p.part = c.part AND p.ino = c.ino AND p.revision = m.revision
     WHERE c.blobid = b.blobid) AS n_hardlinks
FROM media_blobs b
"""

# The name of the argument is that of the view's column, which would win: so it is told by its number.
_INODE_P = """
CREATE FUNCTION inode_p(medium_hash text) RETURNS SETOF inode LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT * FROM inode WHERE inode.medium_hash = $1;
END
"""
