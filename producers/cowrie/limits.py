"""How much of a source may be no events, before it is held for something else than Cowrie's. No I/O."""

from collections.abc import Sequence

from tallystick.contracts.dead_letters import DeadLetter
from tallystick.errors import TallyError
from tallystick.settings import ReaderSettings

_SHOWN_BYTES = 60


class TooManyDeadLetters(TallyError):
    """So much of a source is no events that it is not read on; what was sent of it stays."""


def require_events(*, dead: int, lines: int, letters: Sequence[DeadLetter], bounds: ReaderSettings) -> None:
    """Raise TooManyDeadLetters where `dead` of the first `lines` lines are more than `bounds` allow.

    `letters` are those of the part of the source that was read last, of which the first one is named.
    """
    if not letters or lines < bounds.max_dead_after or dead <= bounds.max_dead_share * lines:
        return
    example = letters[0]
    begins = example.payload[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    raise TooManyDeadLetters(
        f"{dead} of {lines} lines are no events, more than reader.max_dead_share = {bounds.max_dead_share:g} allows; "
        f"for example at position {example.position}: {example.reason}: {begins!r}; see whether this is a Cowrie log, "
        "or set reader.max_dead_share higher and read it again: it goes on where it stopped"
    )
