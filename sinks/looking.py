"""Looks at what was claimed: what one is asked, what it answers, and that an error of its own is an answer too."""

from collections.abc import Callable, Mapping

import msgspec
import sqlalchemy as sa

from tallystick.contracts.text import printable
from tallystick.database.errors import is_transient
from tallystick.errors import TallyError
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

_NAMED = 5


class Interrupted(Exception):
    """Whoever asked wants no answer any more."""


class Question(msgspec.Struct, frozen=True):
    """Which claim is to be looked at: that of `run`, about `stage` of the `attempt` at `source`, called `name`.

    `progress` is called often, for whoever has to do something meanwhile; `interruption` is what it raises to end it.
    """

    settings: Settings
    engine: sa.Engine
    source: str
    stage: str
    attempt: int
    run: int = 0
    progress: Callable[[], None] = lambda: None
    interruption: type[Exception] = Interrupted
    name: str = ""


class Look(msgspec.Struct, frozen=True):
    """What was found: counts under the names of the claim, those only that were counted; a digest; and in words."""

    found: dict[str, int]
    digest: str = ""
    detail: str = ""


class Troubles:
    """What is wrong with many things: how often, and the first few in words."""

    def __init__(self) -> None:
        self._count = 0
        self._named: list[str] = []

    def add(self, what: str) -> None:
        """Take one more."""
        self._count += 1
        if len(self._named) < _NAMED:
            self._named.append(printable(what))

    def __str__(self) -> str:
        """In words; empty where nothing is wrong."""
        more = self._count - len(self._named)
        return "; ".join([*self._named, *([f"and {more} more"] if more else [])])


Looks = Mapping[str, Callable[[Question], Look]]
"""The look at each stage that is inspected, by the stage."""


class Inspection(msgspec.Struct, frozen=True):
    """How a kind of source is looked at: once the `tables` of no sink of these are being filled again, by `looks`.

    `is_known` tells whether the database knows of an attempt at a source yet, which is waited for a little.
    """

    looks: Looks
    tables: frozenset[str]
    is_known: Callable[[sa.Connection, str, int], bool]


def look(question: Question, looks: Looks) -> Look:
    """Look at what was claimed. What is missing, or goes wrong meanwhile, is what is found: no count, but a detail.

    Raises what `question.progress` raises, and what the database raises where it may pass.
    """
    look_at = looks.get(question.stage)
    if look_at is None:
        return Look({}, detail=f"this version knows no look at the stage {question.stage}: use a newer one")
    try:
        return look_at(question)
    except question.interruption:
        raise
    except (TallyError, OSError) as error:
        return Look({}, detail=f"could not look: {error}")
    except Exception as error:
        if is_transient(error):
            raise
        # Whatever it is: to look again would end in the same way, again and again.
        log.exception("a look has failed", source=question.source, stage=question.stage)
        return Look({}, detail=f"could not look: {type(error).__name__}: {str(error).strip()[:500]}")
