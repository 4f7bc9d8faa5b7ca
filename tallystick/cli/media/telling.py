"""What an entry of a medium's history says, in the columns that people and programs read."""

from collections.abc import Mapping

import msgspec

from tallystick.cli.media.history import Entry, Word
from tallystick.contracts.media import IDENTIFIED, Medium, Run
from tallystick.contracts.stages import Claimed, Command, Failed, Observed, Outcome, Reported, Started

AGENT, VERIFIER, WORKER, SUPERVISOR = "stages agent", "verifier", "worker", "supervisor"


class Told(msgspec.Struct, frozen=True):
    """One entry in words. `event` is what happened, `who` says it, `outcome` how it ended, `detail` all else.

    `seconds` are of a monotonic clock, and `exit_code` is negative for a signal; both only of a process that ended.
    """

    event: str
    stage: str
    who: str
    attempt: int = 0
    run: int = 0
    outcome: str = ""
    detail: str = ""
    seconds: float | None = None
    exit_code: int | None = None
    counts: Mapping[str, int] = {}
    digest: str = ""
    at: str = ""
    place: str = ""


def tell(entry: Entry) -> Told:
    """Return an entry in words."""
    return msgspec.structs.replace(_tell(entry.word), at=entry.at, place=entry.place)


def _tell(word: Word) -> Told:
    match word:
        case Medium():
            return _medium(word)
        case Run():
            return _run(word)
        case Started(stage=stage, attempt=attempt, until=until):
            return Told("started", stage, WORKER, attempt, detail=f"until {until}" if until else "")
        case Claimed(stage=stage, attempt=attempt, run=run, counts=counts, digest=digest):
            return Told("claimed", stage, WORKER, attempt, run, counts=counts, digest=digest)
        case Observed():
            return _observed(word)
        case Reported(stage=stage, attempt=attempt, run=run, detail=detail, found=counts, digest=digest):
            return Told("looked at", stage, VERIFIER, attempt, run, detail=detail, counts=counts, digest=digest)
        case Failed(stage=stage, attempt=attempt, reason=reason, exit_code=code):
            who = SUPERVISOR if word.presumed else WORKER
            return Told("failed", stage, who, attempt, outcome="failed", detail=reason, exit_code=code)
        case Outcome(stage=stage, attempt=attempt, verdict=verdict, reason=reason):
            return Told("verdict", stage, AGENT, attempt, outcome=verdict.value, detail=reason)
        case Command(stage=stage, attempt=attempt, run=run, look=look):
            return Told("look commanded" if look else "commanded", stage, AGENT, attempt, run)


def _medium(word: Medium) -> Told:
    detail = f"{word.form} {word.name}, {word.size:,} bytes"
    if word.message:
        detail += f": {word.message}"
    if word.acknowledged:
        detail += f"; losses are accepted: {word.acknowledged}"
    return Told("identified", IDENTIFIED, WORKER, word.attempt, detail=detail, digest=word.digest)


def _run(word: Run) -> Told:
    code = word.exit_code
    parts = (word.detail, *(f"{name}: {said}" for name, said in word.evidence.items()))
    return Told(
        event="run began" if code is None else "run ended",
        stage=word.stage,
        who=word.worker,
        attempt=word.attempt,
        run=word.run,
        outcome="" if code is None else f"signal {-code}" if code < 0 else f"exit {code}",
        detail="; ".join(part for part in parts if part),
        seconds=None if code is None else word.seconds,
        exit_code=code,
        counts=word.counts,
    )


def _observed(word: Observed) -> Told:
    passed = word.partitions.values()
    counts = {name: sum(getattr(part, name) for part in passed) for name in ("inserted", "present", "dead")}
    return Told("observed", "", word.observer, word.attempt, counts=counts)
