"""The tables, as SQLAlchemy Core; each module holds those of one subject. Names are those that people query."""

from sinks.schema.base import metadata
from sinks.schema.bookkeeping import meta, sink_counters, sink_offsets
from sinks.schema.events import dead_letter_events, dead_letter_retries, raw_events
from sinks.schema.inventories import (
    client_versions,
    hassh_inventory,
    ip_inventory,
    password_session_usage,
    password_tracking,
    session_inventory,
    session_ssh_key_pairs,
    session_ssh_keys,
    session_tunnels,
    ssh_key_associations,
    ssh_key_intelligence,
    tunnel_targets,
)
from sinks.schema.media import (
    media,
    media_blobs,
    media_copies,
    media_inodes,
    media_leases,
    media_paths,
    media_problems,
    media_runs,
)
from sinks.schema.sessions import command_stats, files, login_attempts, session_sources, session_summaries
from sinks.schema.stages import source_stages, sources

__all__ = [
    "client_versions",
    "command_stats",
    "dead_letter_events",
    "dead_letter_retries",
    "files",
    "hassh_inventory",
    "ip_inventory",
    "login_attempts",
    "media",
    "media_blobs",
    "media_copies",
    "media_inodes",
    "media_leases",
    "media_paths",
    "media_problems",
    "media_runs",
    "meta",
    "metadata",
    "password_session_usage",
    "password_tracking",
    "raw_events",
    "session_inventory",
    "session_sources",
    "session_ssh_key_pairs",
    "session_ssh_keys",
    "session_summaries",
    "session_tunnels",
    "sink_counters",
    "sink_offsets",
    "source_stages",
    "sources",
    "ssh_key_associations",
    "ssh_key_intelligence",
    "tunnel_targets",
]
