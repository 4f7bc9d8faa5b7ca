"""From when on the rotated files beside a live log are its followers' business. No I/O.

Someone who asks for `cowrie.json` asks for what is written to it, not for all the archives beside it. But what was
written and rotated while nobody followed belongs to it, and is newer than what is known of the log.
"""

import os
from collections import defaultdict
from collections.abc import Iterable

from producers.cowrie.following.names import stem
from tallystick.contracts.sources import Checkpoint

Family = tuple[str, str]
"""Folder and stem of a live log and of those that it was rotated to."""


def family(path: str) -> Family:
    """Return the family of a file."""
    folder, name = os.path.split(path)
    return folder, stem(name)


def eras(checkpoints: Iterable[Checkpoint]) -> dict[Family, str]:
    """Return for each family of sources the time since which something may have been missed, canonical.

    That is when the oldest source that isn't claimed was read last; where all are claimed, when the newest was.
    """
    found: defaultdict[Family, list[Checkpoint]] = defaultdict(list)
    for known in checkpoints:
        if known.digest:  # else it is a path that could not be read
            found[family(known.name)].append(known)
    return {
        name: min((known.at for known in members if not known.claimed), default=max(known.at for known in members))
        for name, members in found.items()
    }
