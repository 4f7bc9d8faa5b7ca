"""AT Protocol: records, how repositories and accounts stand, identities, labels, and what happened to streams.

A revision `rev` is a TID; `revision` is the same as a number, by which rows only ever move forward.
"""

import sqlalchemy as sa

from sinks.schema.base import JSON, MOMENT, NUMBER, Now, metadata


def _text(name: str, comment: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="", comment=comment)


def _seq() -> sa.Column[int]:
    comment = "of the event in the stream of host; 0 where it was no stream"
    return sa.Column("seq", NUMBER, nullable=False, server_default="0", comment=comment)


atproto_records = sa.Table(
    "atproto_records",
    metadata,
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
    sa.Index("ix_atproto_records_collection", "collection"),
)

atproto_repos = sa.Table(
    "atproto_repos",
    metadata,
    sa.Column("did", sa.Text, primary_key=True),
    sa.Column("revision", NUMBER, nullable=False, server_default="0", comment="rev as a number; 0: no commit yet"),
    _text("rev", "of the newest commit"),
    _text("cid", "of that commit"),
    _text("data", "root of its tree"),
    _text("host", "whose stream told of it"),
    sa.Column("time", MOMENT, comment="the host's; empty where it told none"),
    sa.Column("fetched_revision", NUMBER, comment="of the newest snapshot of the whole; what is older doesn't count"),
    sa.Column("fetched_attempt", NUMBER, comment="the attempt which that is of"),
    sa.Column("fetched_rev", sa.Text, comment="fetched_revision as a TID"),
    sa.Column("fetched_cid", sa.Text, comment="of the commit that was fetched"),
    sa.Column("fetched_data", sa.Text, comment="root of its tree"),
    sa.Column("fetched_records", NUMBER, comment="how many there were"),
    sa.Column("state", sa.Text, comment="desynchronised, fetching, synchronised, inactive or failed"),
    _text("known_rev", "the last revision up to which all is known"),
    _text("problem", "why it is not synchronised"),
    _text("account_status", "the account's, where it is not active"),
    sa.Column("fetches", NUMBER, nullable=False, server_default="0", comment="fetches in a row that have not helped"),
    sa.Column("changed_at", MOMENT, comment="when the state changed"),
    sa.Index("ix_atproto_repos_state", "state"),
)

atproto_snapshots = sa.Table(
    "atproto_snapshots",
    metadata,
    sa.Column("did", sa.Text, primary_key=True),
    sa.Column("attempt", NUMBER, nullable=False, comment="milliseconds since 1970, when it began"),
    sa.Column("revision", NUMBER, nullable=False, comment="rev as a number"),
    sa.Column("rev", sa.Text, nullable=False),
    sa.Column("whole", sa.Boolean, nullable=False, comment="whether it was all of the repository"),
    sa.Column("cid", sa.Text, nullable=False, comment="of the commit"),
    sa.Column("data", sa.Text, nullable=False, comment="root of its tree"),
    sa.Column("records", NUMBER, nullable=False),
    _text("collections", "of a part that has all records of some: their names and patterns, as JSON; else empty"),
)

atproto_fetched_parts = sa.Table(
    "atproto_fetched_parts",
    metadata,
    sa.Column("did", sa.Text, nullable=False),
    sa.Column("part", sa.Text, nullable=False, comment="BLAKE3 of collections, 16 bytes in hexadecimal digits"),
    sa.Column("collections", sa.Text, nullable=False, comment="their names and patterns, as JSON"),
    sa.Column("revision", NUMBER, nullable=False, comment="rev as a number"),
    sa.Column("rev", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("did", "part", name="pk_atproto_fetched_parts"),
)

atproto_accounts = sa.Table(
    "atproto_accounts",
    metadata,
    sa.Column("did", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False, comment="who says so"),
    sa.Column("revision", NUMBER, nullable=False, comment="microseconds of time; 1 where there is none"),
    _seq(),
    sa.Column("active", sa.Boolean, nullable=False),
    _text("status", "takendown, suspended, deleted, deactivated, desynchronized, throttled, or another word"),
    sa.Column("time", MOMENT),
    sa.PrimaryKeyConstraint("did", "host", name="pk_atproto_accounts"),
)

atproto_identities = sa.Table(
    "atproto_identities",
    metadata,
    sa.Column("did", sa.Text, primary_key=True),
    sa.Column("revision", NUMBER, nullable=False, comment="microseconds of time; 1 where there is none"),
    _text("handle", "empty where the host didn't tell"),
    _text("host"),
    _seq(),
    sa.Column("time", MOMENT),
    sa.Index("ix_atproto_identities_handle", "handle"),
)

atproto_labels = sa.Table(
    "atproto_labels",
    metadata,
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
    sa.Index("ix_atproto_labels_uri", "uri"),
    sa.Index("ix_atproto_labels_did", "did"),
)

atproto_label_history = sa.Table(
    "atproto_label_history",
    metadata,
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
    # A hash index takes text of any length, which comes from whoever labels.
    sa.Index("ix_atproto_label_history_uri", "uri", postgresql_using="hash"),
)

atproto_notices = sa.Table(
    "atproto_notices",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True, comment="BLAKE3 of the notice, 16 bytes"),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", MOMENT, nullable=False),
    sa.Column("action", sa.Text, nullable=False, comment="what was done about it"),
    sa.Column("before_seq", NUMBER, nullable=False, comment="the last number before it; 0 where there is none"),
    sa.Column("after_seq", NUMBER, nullable=False, comment="the next number; 0 where there is none"),
    _text("detail"),
    sa.Index("ix_atproto_notices_host", "host", "at"),
)

VIEWS: dict[str, tuple[str, ...]] = {
    "atproto_live_records": ("did", "collection", "rkey", "rev", "cid", "value", "problem", "host", "seq", "time"),
    "atproto_current_labels": ("src", "uri", "val", "cid", "did", "cts", "exp", "expires_at", "ver", "sig", "host"),
}
"""Views: records that are there, of accounts that the newest word of a host doesn't call inactive; and labels that
count now, being neither retracted nor past their time."""
