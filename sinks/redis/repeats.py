"""What was written already: two relays send each commit, and consumers of the streams want it once."""

from collections import OrderedDict
from collections.abc import Iterable

MAX_KNOWN = 200_000

Commit = tuple[str, str]
"""DID and rev."""


class Repeats:
    """The newest commits that were written by this process, bounded. After a restart some come once more."""

    def __init__(self, most: int = MAX_KNOWN) -> None:
        self._most = most
        self._known: OrderedDict[Commit, None] = OrderedDict()

    def __contains__(self, commit: Commit) -> bool:
        return commit in self._known

    def add(self, commits: Iterable[Commit]) -> None:
        """Remember `commits`, which are written now."""
        for commit in commits:
            self._known[commit] = None
        while len(self._known) > self._most:
            self._known.popitem(last=False)
