"""From what a load knows of one sensor to the snapshot that its status files show. Pure."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from producers.progress import Progress
from sinks.standing import SourceStanding
from tallystick.cli.status.counting import Held
from tallystick.cli.status.documents import Counters, DeadLetters, Snapshot, State
from tallystick.contracts.stages import Verdict

_UNFINISHED = {"waiting", "reading"}


class Evidence(msgspec.Struct, frozen=True):
    """What is known of one sensor: what the reader told of each of its files, and what the database knows of them.

    `standings` and `held` are by source.
    """

    progress: Sequence[Progress]
    standings: Mapping[str, SourceStanding]
    held: Mapping[str, Held]


def snapshot_of(sensor: str, evidence: Evidence, *, ended: State, seconds: float) -> Snapshot:
    """Return how a sensor stands. `ended` is `running`, or how the load as a whole ended.

    A sensor is done once each of its files is claimed and each source of it has succeeded, whatever becomes of others.
    """
    files, sources = evidence.progress, _sources(evidence)
    known = [
        standing for one in sources if (standing := evidence.standings.get(one)) and standing.attempt >= sources[one]
    ]
    counters = _counters(evidence, sources, known)
    whole = bool(files) and counters.files_claimed == len(files) and len(known) == len(sources)
    done = whole and all(one.succeeded for one in known)
    return Snapshot(
        sensor=sensor,
        counters=counters,
        dead=_letters(evidence, sources),
        state="done" if done else "running" if ended == "running" else "failed",
        reader_done=bool(files) and counters.files_processed == len(files),
        current=next((said.path for said in files if said.state == "reading"), None),
        checkpoint={said.path: said.position for said in files if said.source},
        problems=tuple(f"{one.name}: {one.trouble}" for one in known if _is_lost(one)),
        seconds=seconds,
    )


def _sources(evidence: Evidence) -> dict[str, int]:
    """Return the sources that the reader has named, with its newest attempt: verdicts of older ones don't count."""
    attempts: dict[str, int] = {}
    for said in evidence.progress:
        if said.source:
            attempts[said.source] = max(attempts.get(said.source, 0), said.attempt)
    return attempts


def _counters(evidence: Evidence, sources: Collection[str], known: Sequence[SourceStanding]) -> Counters:
    events, before, invalid = (dict.fromkeys(sources, 0) for _ in range(3))
    for said in evidence.progress:
        if said.source:
            # Two files may be copies of one source: its events count once.
            events[said.source] = max(events[said.source], said.events)
            before[said.source] = max(before[said.source], said.before)
            invalid[said.source] = max(invalid[said.source], said.dead)
    held = {source: found for source in sources if (found := evidence.held.get(source))}
    aggregated = {one.source for one in known if _succeeded(one, "aggregated")}
    total = sum(events.values())
    return Counters(
        files_total=len(evidence.progress),
        files_processed=sum(said.state not in _UNFINISHED for said in evidence.progress),
        files_claimed=sum(said.state == "claimed" for said in evidence.progress),
        bytes_total=sum(said.size for said in evidence.progress),
        bytes_read=sum(_bytes_read(said) for said in evidence.progress),
        events_read=total,
        events_new=max(total - sum(before.values()), 0),
        invalid=sum(invalid.values()),
        inserted=sum(found.inserted for found in held.values()),
        present=sum(found.present for found in held.values()),
        quarantined=sum(found.dead for found in held.values()),
        sessions=sum(found.sessions for found in held.values()),
        sessions_processed=sum(found.sessions for source, found in held.items() if source in aggregated),
        sources=len(sources),
        persisted=sum(_succeeded(one, "persisted") for one in known),
        aggregated=len(aggregated),
        verified=sum(_succeeded(one, "verified") for one in known),
    )


def _bytes_read(said: Progress) -> int:
    """Return how much of a file has been read: all of one that is claimed, whatever stood behind its last event."""
    return said.size if said.state == "claimed" else min(said.bytes_read, said.size)


def _letters(evidence: Evidence, sources: Collection[str]) -> DeadLetters:
    found = [evidence.held[source].letters for source in sources if source in evidence.held]
    newest = max(found, key=lambda letters: letters.last_updated or "", default=DeadLetters())
    paths = {said.source: said.path for said in evidence.progress}
    return msgspec.structs.replace(
        newest,
        total=sum(letters.total for letters in found),
        last_source=paths.get(newest.last_source or "", newest.last_source),
    )


def _is_lost(standing: SourceStanding) -> bool:
    return any(stage.verdict in {Verdict.FAILED, Verdict.MISMATCH} for stage in standing.stages)


def _succeeded(standing: SourceStanding, name: str) -> bool:
    return any(stage.stage == name and stage.verdict is Verdict.SUCCEEDED for stage in standing.stages)
