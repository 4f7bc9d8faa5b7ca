"""What all refusals of this package have in common: a word of an enum for programs, a sentence for people."""

from enum import StrEnum
from typing import Generic, TypeVar

from tallystick.errors import TallyError

Reason = TypeVar("Reason", bound=StrEnum)


class Refusal(TallyError, Generic[Reason]):
    """Bytes from the network can't be taken for what they should be.

    `reason` is to be counted by; `detail` says more, and may hold what a stranger wrote, escaped by `shown`.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason, self.detail = reason, detail


def shown(value: object) -> str:
    """Return what a stranger wrote in a form for messages: escaped, and at most 80 characters of it."""
    if isinstance(value, str | bytes):
        text = ascii(value[:80])
        return text if len(value) <= 80 else f"{text}..."
    return type(value).__name__
