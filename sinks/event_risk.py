"""The risk score of the text of a command, fast: commands repeat, so that most answers are remembered."""

from functools import lru_cache

from tallystick.contracts import risk
from tallystick.contracts.text import normalize, printable

_MAX_CACHED_CHARS = 4_096


def with_text(points: int, typed: str) -> int:
    """Return the score of a command `typed`, whose kind alone is worth `points`, as the sessions' fold finds it.

    Never raises for what the text holds.
    """
    found = _remembered(typed) if len(typed) <= _MAX_CACHED_CHARS else _of_text(typed)
    return max(points, found)


def _of_text(typed: str) -> int:
    return risk.of_command(normalize(printable(typed)))


_remembered = lru_cache(maxsize=4_096)(_of_text)
