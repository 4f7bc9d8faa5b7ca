"""AT Protocol: how many captured commits a core takes from the frame to JSON, at each level of validation."""

import time
from collections.abc import Callable
from functools import partial

import libipld
import msgspec

from producers.atproto.protocol.commits import commit_record
from producers.atproto.protocol.messages import CommitMessage, read_message
from producers.atproto.protocol.validation import Known, Level, Standing, validate_commit
from tallystick.contracts.atproto import encode
from tests.atproto_world import NOW_US, frames, keys

ROUNDS = 15
LOOP = 5


class Rate(msgspec.Struct):
    """One step, alone or with all before it: commits per second of one core's CPU time, the best of all rounds."""

    step: str
    rate: float


class _Captured(msgspec.Struct):
    raw: bytes
    message: CommitMessage
    standing: Standing
    known: Known | None


def measure() -> list[Rate]:
    """Return the rate of each step over the 209 captured commits of a PDS (2 kB and 1.4 operations in the mean)."""
    captured = _captured()
    return [
        _rate("for comparison: libipld.decode_car alone", captured, lambda one: libipld.decode_car(one.message.blocks)),
        _rate("frame to message", captured, lambda one: read_message(one.raw)),
        *(_rate(f"message to commit, {level.name.lower()}", captured, partial(_valid, level=level)) for level in Level),
        *(_rate(f"frame to JSON, {level.name.lower()}", captured, partial(_whole, level=level)) for level in Level),
    ]


def _captured() -> list[_Captured]:
    standings = {did: Standing(key) for did, key in keys().items()}
    known: dict[str, Known] = {}
    found = []
    for raw in frames("repos.bin"):
        message = read_message(raw)
        if isinstance(message, CommitMessage):
            one = _Captured(raw, message, standings[message.repo], known.get(message.repo))
            commit = validate_commit(
                message, level=Level.INDUCTIVE, now_us=NOW_US, standing=one.standing, known=one.known
            )
            known[message.repo] = Known(message.rev, commit.signed.data)
            found.append(one)
    return found


def _valid(one: _Captured, *, level: Level) -> object:
    return validate_commit(one.message, level=level, now_us=NOW_US, standing=one.standing, known=one.known)


def _whole(one: _Captured, *, level: Level) -> object:
    message = read_message(one.raw)
    if not isinstance(message, CommitMessage):
        raise TypeError(f"a commit is expected, not {type(message).__name__}")
    commit = validate_commit(message, level=level, now_us=NOW_US, standing=one.standing, known=one.known)
    return encode(commit_record(commit, host="pds.test", live=True))


def _rate(step: str, captured: list[_Captured], work: Callable[[_Captured], object]) -> Rate:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(LOOP):
            for one in captured:
                work(one)
        best = min(best, time.process_time() - started)
    return Rate(step, LOOP * len(captured) / best)
