"""Pipelines as data: which stages a kind of source has, and what evidence each of them requires.

A rule names observers, never code, so that the stages agent can judge every kind of source alike.
"""

import msgspec


class Balance(msgspec.Struct, frozen=True, tag="balance"):
    """Succeeds with the worker's own claim, where the claim adds up. It only says what was read, not what arrived.

    Until then it shows how far the worker is, where its heartbeat tells, in positions of the source.
    """


class Tally(msgspec.Struct, frozen=True, tag="tally"):
    """Succeeds where each observer has passed the claim's offsets in its topic with exactly the claimed count.

    `observers` are (observer, topic, name of the count in the claim). `recorded_by` must have seen the claim itself,
    so that a claim of nothing still needs a database that knows of it.
    """

    claim: str
    observers: tuple[tuple[str, str, str], ...]
    recorded_by: str


class Chain(msgspec.Struct, frozen=True, tag="chain"):
    """Succeeds where `agent` has passed the claim's offsets in `topic`, and `sink` all that the agent wrote of it."""

    claim: str
    agent: str
    topic: str
    sink: str


class Recount(msgspec.Struct, frozen=True, tag="recount"):
    """Is commanded by success of the stage before, once all before it have their verdicts.

    Succeeds where the worker's report finds what it expected.
    """


class Inspected(msgspec.Struct, frozen=True, tag="inspected"):
    """Is worked on by command, and then looked at by command, by somebody else.

    1. Success of the stage before commands the work, where `claim` is this stage; else somebody works unasked.
    2. The claim, once the `observers` (observer, topic) have passed its offsets, commands the look.
    3. Succeeds where the look finds what was claimed: the `counts`, name by name, and the digest, if there is one;
       without `digest`, a later stage has that compared.

    `losses` are those of the counts that stay in the reason of a success where they are not zero.
    """

    claim: str
    counts: tuple[str, ...]
    observers: tuple[tuple[str, str], ...] = ()
    losses: tuple[str, ...] = ()
    digest: bool = True


Rule = Balance | Tally | Chain | Recount | Inspected


class Stage(msgspec.Struct, frozen=True):
    """One stage. A `Balance` stage is judged once a source, the others once a projection."""

    name: str
    rule: Rule


class Pipeline(msgspec.Struct, frozen=True):
    """The ordered stages of a kind of source, and after how many seconds of silence its first worker counts as dead.

    Of an `endless` kind no claim is to be expected: where there is none it has a cursor and a lag instead of verdicts.
    """

    kind: str
    stages: tuple[Stage, ...]
    silence_seconds: float = 60.0
    endless: bool = False
