"""The tables, as SQLAlchemy Core; each module holds those of one subject. Names are those that people query."""

from sinks.schema.base import metadata
from sinks.schema.bookkeeping import meta, sink_counters, sink_offsets
from sinks.schema.events import dead_letter_events, dead_letter_retries, raw_events
from sinks.schema.sessions import command_stats, files, login_attempts, session_sources, session_summaries
from sinks.schema.stages import source_stages, sources

__all__ = [
    "command_stats",
    "dead_letter_events",
    "dead_letter_retries",
    "files",
    "login_attempts",
    "meta",
    "metadata",
    "raw_events",
    "session_sources",
    "session_summaries",
    "sink_counters",
    "sink_offsets",
    "source_stages",
    "sources",
]
