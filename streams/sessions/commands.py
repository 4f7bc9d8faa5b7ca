"""Commands: one form for what is the same command, what it risks, and the keys that it would inject."""

from functools import lru_cache
from typing import NamedTuple

from streams.sessions.ssh_keys import InjectedKey, find_keys
from tallystick.contracts import risk
from tallystick.contracts.text import normalize, printable

MAX_COMMAND_CHARS = 4_096

_MAX_CACHED_CHARS = 4_096


class Command(NamedTuple):
    """A command as a session lists it: storable, normalized, cut to `MAX_COMMAND_CHARS`, by `cut_chars`.

    `risk` is what the whole of it is worth (`contracts/risk.py`), and `keys` are those that it would inject.
    """

    normalized: str
    cut_chars: int
    risk: int
    keys: tuple[InjectedKey, ...]


def read_command(text: str) -> Command:
    """Return the command that was typed as `text`. Bots type the same again and again, so the latest are remembered."""
    return _remembered(text) if len(text) <= _MAX_CACHED_CHARS else _read(text)


def _read(text: str) -> Command:
    storable = printable(text)
    normalized = normalize(storable)
    return Command(
        normalized[:MAX_COMMAND_CHARS],
        max(0, len(normalized) - MAX_COMMAND_CHARS),
        risk.of_command(normalized),
        find_keys(storable),
    )


_remembered = lru_cache(maxsize=1_024)(_read)
