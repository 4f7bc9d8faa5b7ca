"""AT Protocol: records, repositories, accounts, identities, labels and notices, and two views of what counts now."""

import sqlalchemy as sa
from alembic import op

# What these mean never changes; a new meaning gets a new name.
from sinks.schema.base import JSON, MOMENT, NUMBER, Now

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = (
    "atproto_records",
    "atproto_repos",
    "atproto_snapshots",
    "atproto_accounts",
    "atproto_identities",
    "atproto_labels",
    "atproto_label_history",
    "atproto_notices",
)
_VIEWS = ("atproto_live_records", "atproto_current_labels")


def upgrade() -> None:
    """Make the tables and the views, and the column by which a sink says again only what may have been lost."""
    op.add_column(
        "sink_offsets",
        sa.Column(
            "announced_offset",
            NUMBER,
            server_default="0",
            nullable=False,
            comment="what was observed below it is known to be with Kafka",
        ),
    )
    op.create_index("ix_sink_counters_next_offset", "sink_counters", ["sink", "partition", "next_offset"])
    op.create_table(
        "atproto_records",
        sa.Column("did", sa.Text, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("rkey", sa.Text, nullable=False),
        sa.Column("revision", NUMBER, nullable=False, comment="rev as a number"),
        sa.Column("rev", sa.Text, nullable=False, comment="of the commit, or of the snapshot, that told of it last"),
        sa.Column("cid", sa.Text, comment="empty where it is deleted"),
        sa.Column("value", JSON, comment="empty where it is deleted, or where problem says why"),
        sa.Column("deleted", sa.Boolean, nullable=False),
        _text("problem", "why there is no value; escaped: it holds visible escapes instead of what no database holds"),
        _text("host", "whose stream told of it; empty where a snapshot did"),
        _seq(),
        sa.Column("time", MOMENT, comment="the host's; empty where it told none"),
        sa.Column("fetched_revision", NUMBER, comment="of the newest snapshot that it was in"),
        sa.Column("fetched_attempt", NUMBER, comment="the attempt which that is of"),
        sa.Column("fetched_cid", sa.Text, comment="its cid there"),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=Now()),
        sa.PrimaryKeyConstraint("did", "collection", "rkey", name="pk_atproto_records"),
    )
    op.create_table(
        "atproto_repos",
        sa.Column("did", sa.Text, primary_key=True),
        sa.Column("revision", NUMBER, nullable=False, server_default="0", comment="rev as a number; 0: no commit yet"),
        _text("rev", "of the newest commit"),
        _text("cid", "of that commit"),
        _text("data", "root of its tree"),
        _text("host", "whose stream told of it"),
        sa.Column("time", MOMENT, comment="the host's; empty where it told none"),
        sa.Column(
            "fetched_revision", NUMBER, comment="of the newest snapshot of the whole; what is older doesn't count"
        ),
        sa.Column("fetched_attempt", NUMBER, comment="the attempt which that is of"),
        sa.Column("fetched_rev", sa.Text, comment="fetched_revision as a TID"),
        sa.Column("fetched_cid", sa.Text, comment="of the commit that was fetched"),
        sa.Column("fetched_data", sa.Text, comment="root of its tree"),
        sa.Column("fetched_records", NUMBER, comment="how many there were"),
        sa.Column("state", sa.Text, comment="desynchronised, fetching, synchronised, inactive or failed"),
        _text("known_rev", "the last revision up to which all is known"),
        _text("problem", "why it is not synchronised"),
        _text("account_status", "the account's, where it is not active"),
        sa.Column(
            "fetches", NUMBER, nullable=False, server_default="0", comment="fetches in a row that have not helped"
        ),
        sa.Column("changed_at", MOMENT, comment="when the state changed"),
    )
    op.create_table(
        "atproto_snapshots",
        sa.Column("did", sa.Text, primary_key=True),
        sa.Column("attempt", NUMBER, nullable=False, comment="milliseconds since 1970, when it began"),
        sa.Column("revision", NUMBER, nullable=False, comment="rev as a number"),
        sa.Column("rev", sa.Text, nullable=False),
        sa.Column("whole", sa.Boolean, nullable=False, comment="whether it was all of the repository"),
        sa.Column("cid", sa.Text, nullable=False, comment="of the commit"),
        sa.Column("data", sa.Text, nullable=False, comment="root of its tree"),
        sa.Column("records", NUMBER, nullable=False),
    )
    op.create_table(
        "atproto_accounts",
        sa.Column("did", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False, comment="who says so"),
        sa.Column("revision", NUMBER, nullable=False, comment="microseconds of time; 1 where there is none"),
        _seq(),
        sa.Column("active", sa.Boolean, nullable=False),
        _text("status", "takendown, suspended, deleted, deactivated, desynchronized, throttled, or another word"),
        sa.Column("time", MOMENT),
        sa.PrimaryKeyConstraint("did", "host", name="pk_atproto_accounts"),
    )
    op.create_table(
        "atproto_identities",
        sa.Column("did", sa.Text, primary_key=True),
        sa.Column("revision", NUMBER, nullable=False, comment="microseconds of time; 1 where there is none"),
        _text("handle", "empty where the host didn't tell"),
        _text("host"),
        _seq(),
        sa.Column("time", MOMENT),
    )
    op.create_table(
        "atproto_labels",
        sa.Column("src", sa.Text, nullable=False, comment="who labels"),
        sa.Column("uri", sa.Text, nullable=False, comment="what is labeled: a record, or an account by its DID"),
        sa.Column("val", sa.Text, nullable=False),
        sa.Column("cid", sa.Text, nullable=False, comment="of the version that is labeled; empty where it is any"),
        sa.Column("revision", NUMBER, nullable=False, comment="microseconds of cts"),
        sa.Column("did", sa.Text, nullable=False, comment="whose record or account it is"),
        sa.Column("neg", sa.Boolean, nullable=False, comment="whether it is a retraction"),
        sa.Column("cts", sa.Text, nullable=False, comment="when it was made, as it was signed"),
        sa.Column("exp", sa.Text, comment="until when it counts, as it was signed"),
        sa.Column("expires_at", MOMENT, comment="exp as a time"),
        sa.Column("ver", NUMBER),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        _text("host"),
        _seq(),
        sa.PrimaryKeyConstraint("src", "uri", "val", "cid", name="pk_atproto_labels"),
    )
    op.create_table(
        "atproto_label_history",
        sa.Column("digest", sa.LargeBinary, primary_key=True, comment="BLAKE3 of what was signed and sig, 16 bytes"),
        sa.Column("src", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("val", sa.Text, nullable=False),
        sa.Column("cid", sa.Text, comment="empty, as neg, exp and ver, where the labeler left it out"),
        sa.Column("neg", sa.Boolean),
        sa.Column("cts", sa.Text, nullable=False),
        sa.Column("exp", sa.Text),
        sa.Column("ver", NUMBER),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        _text("host"),
        _seq(),
        sa.Column("added_at", MOMENT, nullable=False, server_default=Now()),
    )
    op.create_table(
        "atproto_notices",
        sa.Column("digest", sa.LargeBinary, primary_key=True, comment="BLAKE3 of the notice, 16 bytes"),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("action", sa.Text, nullable=False, comment="what was done about it"),
        sa.Column("before_seq", NUMBER, nullable=False, comment="the last number before it; 0 where there is none"),
        sa.Column("after_seq", NUMBER, nullable=False, comment="the next number; 0 where there is none"),
        _text("detail"),
    )
    op.create_index("ix_atproto_records_collection", "atproto_records", ["collection"])
    op.create_index("ix_atproto_repos_state", "atproto_repos", ["state"])
    op.create_index("ix_atproto_identities_handle", "atproto_identities", ["handle"])
    op.create_index("ix_atproto_labels_uri", "atproto_labels", ["uri"])
    op.create_index("ix_atproto_labels_did", "atproto_labels", ["did"])
    op.create_index("ix_atproto_label_history_uri", "atproto_label_history", ["uri"], postgresql_using="hash")
    op.create_index("ix_atproto_notices_host", "atproto_notices", ["host", "at"])
    now = "now()" if op.get_bind().dialect.name == "postgresql" else "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
    op.execute(_LIVE_RECORDS)
    op.execute(sa.text(_CURRENT_LABELS.format(now=now).replace(":", r"\:")))  # which else begins a parameter


def downgrade() -> None:
    """Remove them."""
    for view in _VIEWS:
        op.execute(f"DROP VIEW {view}")
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("ix_sink_counters_next_offset", "sink_counters")
    op.drop_column("sink_offsets", "announced_offset")


def _text(name: str, comment: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="", comment=comment)


def _seq() -> sa.Column[int]:
    comment = "of the event in the stream of host; 0 where it was no stream"
    return sa.Column("seq", NUMBER, nullable=False, server_default="0", comment=comment)


# Where an account moved, its old host calls it inactive and its new one active: the newest word counts.
_LIVE_RECORDS = """
CREATE VIEW atproto_live_records AS
SELECT r.did, r.collection, r.rkey, r.rev, r.cid, r.value, r.problem, r.host, r.seq, r.time
FROM atproto_records r
WHERE NOT r.deleted AND NOT EXISTS (
    SELECT 1 FROM atproto_accounts a
    WHERE a.did = r.did AND NOT a.active
      AND a.revision = (SELECT max(b.revision) FROM atproto_accounts b WHERE b.did = a.did)
)
"""

_CURRENT_LABELS = """
CREATE VIEW atproto_current_labels AS
SELECT l.src, l.uri, l.val, l.cid, l.did, l.cts, l.exp, l.expires_at, l.ver, l.sig, l.host
FROM atproto_labels l
WHERE NOT l.neg AND (l.expires_at IS NULL OR l.expires_at > {now})
"""
