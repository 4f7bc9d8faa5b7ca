"""Which collections are meant: patterns such as `app.bsky.*`, where `*` stands for any characters."""

import re
from collections.abc import Sequence
from functools import lru_cache

Choice = tuple[tuple[str, ...], ...]
"""Those collections that one pattern of each tuple fits, so that several who choose are all heeded; of none all are."""


def chosen(*patterns: Sequence[str]) -> Choice:
    """Return the choice of several, each of whom gives patterns, or none for all. What means the same is the same."""
    return tuple(sorted({tuple(sorted(set(some))) for some in patterns if some}))


def is_chosen(choice: Choice, collection: str) -> bool:
    """Return whether a collection is meant."""
    return all(_fits(patterns, collection) for patterns in choice)


@lru_cache(maxsize=4096)
def _fits(patterns: tuple[str, ...], collection: str) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), collection) for pattern in patterns)
