"""What status files say. Pure: typed snapshots in, documents out; times and clocks are arguments."""

import hashlib
import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import quote

import msgspec

VERSION = 1
MAX_FILE_NAME = 120

State = Literal["running", "failed", "done"]


_NEVER_FALL = (
    *("events_read", "events_new", "invalid", "inserted", "present", "quarantined"),
    *("sessions", "sessions_processed"),
)


class Phase(StrEnum):
    """What a load of a sensor is at: each phase begins once the one before it has all that it needs."""

    READING = "reading"
    INDEXING = "indexing"
    ANALYSIS = "session analysis"
    WRITING = "writing"

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.value.replace(' ', '_')}.json"


class Counters(msgspec.Struct, frozen=True):
    """What a load has counted of one sensor.

    What concerns events counts all of each source since its beginning; `events_new` is what this load has read of them.
    """

    files_total: int = 0
    files_processed: int = 0
    files_claimed: int = 0
    bytes_total: int = 0
    bytes_read: int = 0
    events_read: int = 0
    events_new: int = 0
    invalid: int = 0
    inserted: int = 0
    present: int = 0
    quarantined: int = 0
    sessions: int = 0
    sessions_processed: int = 0
    sources: int = 0
    persisted: int = 0
    aggregated: int = 0
    verified: int = 0

    @property
    def indexed(self) -> int:
        """How many events are in the database, or are known to be refused by it."""
        return self.inserted + self.present + self.quarantined


class DeadLetters(msgspec.Struct, frozen=True):
    """The dead letters of a sensor's sources: how many, and of the newest one why, when, and from which file."""

    total: int = 0
    last_reason: str | None = None
    last_source: str | None = None
    last_updated: str | None = None


class Began(msgspec.Struct, frozen=True):
    """How a phase began: after how many seconds of the load, and how much of it was there by then."""

    seconds: float
    current: int


class Snapshot(msgspec.Struct, frozen=True):
    """How one sensor, or all of them, stand in a load, at a point in time. Seconds count from the load's beginning."""

    sensor: str
    """Empty for all of them."""
    counters: Counters = Counters()
    dead: DeadLetters = DeadLetters()
    state: State = "running"
    reader_done: bool = False
    current: str | None = None
    checkpoint: dict[str, int] = {}
    """How far each file that is known has been read, in bytes of its content."""
    problems: tuple[str, ...] = ()
    began: dict[str, Began] = {}
    """The phases that were seen to begin."""
    seconds: float = 0.0


class Run(msgspec.Struct, frozen=True):
    """What is the same for all documents that are written at one time. `now` is a canonical time."""

    ingest_id: str
    hostname: str
    pid: int
    now: str


def advance(before: Snapshot, seen: Snapshot) -> Snapshot:
    """Return `seen` as what follows `before`: it knows how its phase began, and of events and sessions it has no less.

    A reader that begins again undoes no work. Files and verdicts are as they are seen.
    """
    most = {name: max(getattr(before.counters, name), getattr(seen.counters, name)) for name in _NEVER_FALL}
    counters = msgspec.structs.replace(seen.counters, **most)
    now = msgspec.structs.replace(seen, counters=counters)
    phase = phase_of(now)
    current, _whole = _amounts(counters, phase)
    began = {phase.value: Began(now.seconds, current), **before.began}
    return msgspec.structs.replace(now, began=began)


def phase_of(snapshot: Snapshot) -> Phase:
    """Return the phase that a sensor is in; the last one once all is done."""
    counters = snapshot.counters
    if not snapshot.reader_done:
        return Phase.READING
    if counters.persisted < counters.sources:
        return Phase.INDEXING
    return Phase.ANALYSIS if counters.aggregated < counters.sources else Phase.WRITING


def total(snapshots: Iterable[Snapshot], *, state: State, problems: tuple[str, ...], seconds: float) -> Snapshot:
    """Return all sensors of a load as one, where `state` and `problems` are the load's own.

    It is done only if the load is, and each of its sensors.
    """
    found = list(snapshots)
    dead = [one.dead for one in found]
    newest = max(dead, key=lambda one: one.last_updated or "", default=DeadLetters())
    columns = zip(*(msgspec.structs.astuple(one.counters) for one in found), strict=True)
    done = bool(found) and all(one.state == "done" for one in found)
    return Snapshot(
        sensor="",
        counters=Counters(*map(sum, columns)),
        dead=msgspec.structs.replace(newest, total=sum(one.total for one in dead)),
        state="failed" if state == "done" and not done else state,
        reader_done=bool(found) and all(one.reader_done for one in found),
        current=next((one.current for one in found if one.current), None),
        checkpoint={path: at for one in found for path, at in one.checkpoint.items()},
        problems=(*problems, *(problem for one in found for problem in one.problems)),
        seconds=seconds,
    )


def documents(run: Run, everything: Snapshot, sensors: Iterable[Snapshot]) -> dict[str, dict[str, Any]]:
    """Return the content of every status file by its path below the folder.

    `<phase>.json` and `status.json` are of `everything`, `<sensor>/<phase>.json` of one of the `sensors`.
    """
    found = list(sensors)
    files = {phase.file: document(run, everything, phase) for phase in _begun(everything)}
    for one in found:
        for phase in _begun(one):
            files[f"{folder_name(one.sensor)}/{phase.file}"] = document(run, one, phase)
    files["status.json"] = {
        **document(run, everything, phase_of(everything)),
        "phases": {phase.value: document(run, everything, phase)["progress"] for phase in _begun(everything)},
        "sensors": {one.sensor: document(run, one, phase_of(one)) for one in found},
    }
    return files


def phase_files(sensors: Iterable[str]) -> list[str]:
    """Return the path of every file that tells of a phase, whether it has begun or not."""
    folders = ["", *(f"{folder_name(sensor)}/" for sensor in sensors)]
    return [f"{folder}{phase.file}" for folder in folders for phase in Phase]


def document(run: Run, snapshot: Snapshot, phase: Phase) -> dict[str, Any]:
    """Return what is to say of one phase of a sensor, or of all of them."""
    counters, dead, state = snapshot.counters, snapshot.dead, _state_of(snapshot, phase)
    began = snapshot.began.get(phase.value)
    phase_seconds = _phase_seconds(snapshot, began)
    return {
        "version": VERSION,
        "phase": phase.value,
        "state": state,
        "sensor": snapshot.sensor or None,
        "ingest_id": run.ingest_id,
        "hostname": run.hostname,
        "pid": run.pid,
        "timestamp": run.now,
        "last_updated": run.now,
        "heartbeat": run.now,
        "progress": _progress(counters, phase, state, began, phase_seconds),
        "elapsed": {"phase_seconds": round(phase_seconds, 3), "total_seconds": round(snapshot.seconds, 3)},
        "elapsed_secs": round(snapshot.seconds, 3),
        "files": {
            "total": counters.files_total,
            "processed": counters.files_processed,
            "claimed": counters.files_claimed,
            "current": snapshot.current,
        },
        "processed_files": counters.files_processed,
        "log_entries": counters.events_read + counters.invalid,
        "log_entries_indexed": min(counters.indexed, counters.events_read),
        "total_sessions": counters.sessions,
        "sessions_processed": min(counters.sessions_processed, counters.sessions),
        "metrics": {
            "files_processed": counters.files_processed,
            "events_read": counters.events_read,
            "events_inserted": counters.inserted,
            "events_quarantined": counters.quarantined,
            "events_invalid": counters.invalid,
            "duplicates_skipped": counters.present,
            "batches_committed": None,
            "duration_seconds": round(snapshot.seconds, 3),
            "events_per_second": _rate(counters.events_new, snapshot.seconds),
        },
        "checkpoint": snapshot.checkpoint,
        "dead_letter": msgspec.structs.asdict(dead),
        "details": {
            "bytes_read": min(counters.bytes_read, counters.bytes_total),
            "bytes_total": counters.bytes_total,
            "sources": counters.sources,
            "sources_persisted": counters.persisted,
            "sources_aggregated": counters.aggregated,
            "sources_verified": counters.verified,
            "problems": list(snapshot.problems),
        },
    }


def folder_name(sensor: str) -> str:
    """Return the folder of a sensor's files: its name, percent-encoded as far as a file system needs it."""
    name = quote(sensor, safe=" ").replace("~", "%7E")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    name = f"{name.removesuffix('.json')}%2Ejson" if name.endswith(".json") else name
    if len(name) <= MAX_FILE_NAME:
        return name
    return f"{name[:MAX_FILE_NAME]}~{hashlib.sha256(sensor.encode()).hexdigest()[:16]}"


def _begun(snapshot: Snapshot) -> list[Phase]:
    phases = list(Phase)
    return phases[: phases.index(phase_of(snapshot)) + 1]


def _state_of(snapshot: Snapshot, phase: Phase) -> State:
    """Return the state of a phase that has begun. One that was left is done, unless a file of it was not read."""
    if snapshot.state == "done":
        return "done"
    if phase is phase_of(snapshot):
        return snapshot.state
    counters = snapshot.counters
    return "failed" if phase is Phase.READING and counters.files_claimed < counters.files_total else "done"


def _phase_seconds(snapshot: Snapshot, began: Began | None) -> float:
    if began is None:
        return 0.0  # it was over before anybody looked
    later = (other.seconds for other in snapshot.began.values() if other.seconds > began.seconds)
    return max(min(later, default=snapshot.seconds) - began.seconds, 0.0)


def _amounts(counters: Counters, phase: Phase) -> tuple[int, int]:
    """Return how much of a phase's work there is, and how much there is in all."""
    match phase:
        case Phase.READING:
            done, whole = counters.bytes_read, counters.bytes_total
        case Phase.INDEXING:
            done, whole = counters.indexed, counters.events_read
        case Phase.ANALYSIS:
            done, whole = counters.aggregated, counters.sources
        case Phase.WRITING:
            done, whole = counters.verified, counters.sources
    return min(done, whole), whole


def _progress(counters: Counters, phase: Phase, state: State, began: Began | None, seconds: float) -> dict[str, Any]:
    current, whole = _amounts(counters, phase)
    rate = _rate(max(current - began.current, 0), seconds) if began else 0.0
    left = whole - current
    return {
        "current": current,
        "total": whole,
        "percent": _percent(current, whole, state),
        "rate_per_sec": rate,
        "eta_seconds": round(left / rate, 1) if left and rate > 0 else None if left else 0.0,
    }


def _percent(current: int, whole: int, state: State) -> float:
    """Return how much of `whole` there is, cut to two places; 100 only where all of it is, or nothing has to be."""
    if not whole:
        return 100.0 if state == "done" else 0.0
    return math.floor(10_000 * current / whole) / 100


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0
