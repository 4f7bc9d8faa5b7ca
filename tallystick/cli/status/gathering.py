"""From what a load knows of one sensor to the snapshot that its status files show. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from producers.cowrie.progress import Progress
from sinks.standing import SourceStanding
from tallystick.cli.status.counting import Held
from tallystick.cli.status.documents import Counters, DeadLetters, Snapshot, State
from tallystick.contracts.stages import Verdict


class Evidence(msgspec.Struct, frozen=True):
    """What is known of one sensor: bytes of each of its files, what the reader told of them, and what came of it."""

    sizes: Mapping[str, int]
    progress: Sequence[Progress]
    standings: Mapping[str, SourceStanding]
    held: Mapping[str, Held]


def snapshot_of(sensor: str, evidence: Evidence, *, ended: State, seconds: float) -> Snapshot:
    """Return how a sensor stands. `ended` is `running`, or how the load as a whole ended."""
    over = [said for said in evidence.progress if said.state != "reading"]
    current = next((said.path for said in evidence.progress if said.state == "reading"), None)
    known = [evidence.standings[one] for one in _sources(evidence) if one in evidence.standings]
    files = max(len(evidence.sizes), len(evidence.progress))
    return Snapshot(
        sensor=sensor,
        counters=_counters(evidence, known, files),
        dead=_letters([held for one in _sources(evidence) if (held := evidence.held.get(one))]),
        state=_state(ended, evidence, known, files),
        reader_done=len(over) >= files,
        current=current,
        checkpoint={said.path: said.position for said in evidence.progress},
        problems=tuple(f"{one.name}: {one.trouble}" for one in known if _is_lost(one)),
        seconds=seconds,
    )


def _sources(evidence: Evidence) -> list[str]:
    return list(dict.fromkeys(said.source for said in evidence.progress if said.source))


def _counters(evidence: Evidence, known: Sequence[SourceStanding], files: int) -> Counters:
    sources = _sources(evidence)
    events, invalid = dict.fromkeys(sources, 0), dict.fromkeys(sources, 0)
    sizes, read = dict(evidence.sizes), 0
    for said in evidence.progress:
        if said.source:
            events[said.source] = max(events[said.source], said.events)
            invalid[said.source] = max(invalid[said.source], said.dead)
        sizes[said.path] = max(said.size, sizes.get(said.path, 0))
        read += said.bytes_read if said.state == "reading" else sizes[said.path]
    held = {source: found for source in sources if (found := evidence.held.get(source))}
    aggregated = {one.source for one in known if _succeeded(one, "aggregated")}
    return Counters(
        files_total=files,
        files_processed=sum(said.state != "reading" for said in evidence.progress),
        bytes_total=sum(sizes.values()),
        bytes_read=read,
        events_read=sum(events.values()),
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


def _letters(held: Sequence[Held]) -> DeadLetters:
    newest = max((one.letters for one in held), key=lambda letters: letters.last_updated or "", default=DeadLetters())
    return msgspec.structs.replace(newest, total=sum(one.letters.total for one in held))


def _state(ended: State, evidence: Evidence, known: Sequence[SourceStanding], files: int) -> State:
    if ended == "running":
        return "running"
    claimed = sum(said.state == "claimed" for said in evidence.progress)
    whole = claimed == files and len(known) == len(_sources(evidence))
    return "done" if whole and all(one.succeeded for one in known) else "failed"


def _is_lost(standing: SourceStanding) -> bool:
    return any(stage.verdict in {Verdict.FAILED, Verdict.MISMATCH} for stage in standing.stages)


def _succeeded(standing: SourceStanding, name: str) -> bool:
    return any(stage.stage == name and stage.verdict is Verdict.SUCCEEDED for stage in standing.stages)
