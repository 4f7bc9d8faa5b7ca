"""The files of a medium become contents in the store, and records in Kafka that say what became of each."""

from collections.abc import Callable, Iterable

from producers.media.claiming import Outflow, StageClaim
from tallystick.contracts.media import Copied, CopyStatus, Medium, copies_record

RECORD_COPIES = 500


def emit_copies(
    outflow: Outflow,
    medium: Medium,
    copies: Iterable[Copied],
    *,
    before: dict[str, int],
    run: int,
    advance: Callable[[], None],
) -> StageClaim:
    """Send what becomes of each file, and return what is to be claimed; `before` are the counts of what was done.

    Files that failed before are among those that are tried now. Raises what `copies` raises, ServiceError.
    """
    counts = {**before, "failed": 0}
    created = position = 0
    batch: list[Copied] = []

    def send() -> None:
        nonlocal position
        positions = range(position, position + len(batch))
        outflow.send(
            *copies_record(medium.medium, attempt=medium.attempt, low=position, positions=positions, copies=batch)
        )
        position += len(batch)
        batch.clear()

    for copied in copies:
        if copied.status is CopyStatus.SUCCESS:
            counts["copied"] += 1
            counts["bytes"] += copied.size
            created += copied.created
        else:
            counts["failed"] += 1
        batch.append(copied)
        if len(batch) == RECORD_COPIES:
            send()
        advance()
    if batch:
        send()
    ends = outflow.settle(advance)
    evidence = {"run": str(run), "new_blobs": str(created), "tried": str(position)}
    return StageClaim(counts=counts, ends=ends, evidence=evidence)
