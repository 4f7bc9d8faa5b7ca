"""However much a stream brings, the process that follows it stays as large as it was."""

from tallystick.settings import Settings
from tests.bench.firehose import measure

COMMITS = 15_000
MIB = 12
"""Far less than the 45 MiB that these commits are."""


def test_memory_does_not_grow_with_the_stream(kafka_settings: Settings) -> None:
    [followed] = measure(kafka_settings, commits=COMMITS, levels=("inductive",))
    assert followed.mib_end - followed.mib_begun < MIB
