"""Mending: what an audit found becomes contents to heal and media to ingest again; both are done, and looked at."""

import os
from collections.abc import Callable, Iterator, Sequence

import msgspec
import sqlalchemy as sa

from producers.media.contents import Work
from producers.media.healing import Healed, Holder, Unhealed, heal
from sinks.media.audit.contents import CopiedFile, blob_rows, files_with
from sinks.media.audit.fixity import Verified, verify_blobs
from sinks.media.audit.violations import Code, Mend, Violation
from sinks.media.reading import read_medium
from tallystick.cli.media.audit import make_audit
from tallystick.cli.media.opening import places
from tallystick.database.engine import snapshot
from tallystick.settings import Settings
from tallystick.storage.store import Store

Ingest = Callable[[Settings, Sequence[bytes]], object]
"""Ingests devices, images, folders or listings once more, by their paths, and waits for the verdicts on them."""


class Plan(msgspec.Struct):
    """What would mend what was found: contents to heal, targets to ingest by their medium or path, and what is left."""

    heal: list[str] = []
    ingest: dict[str, bytes] = {}
    left: list[Violation] = []


class Repair:
    """One repair, of all media or of those with the given ids. Methods raise as `Audit.run` does."""

    def __init__(self, settings: Settings, engine: sa.Engine, ids: Sequence[str] | None, *, ingest: Ingest) -> None:
        self._settings, self._engine, self._ids, self._ingest = settings, engine, ids, ingest
        self._store = Store(places(settings).store)

    def plan(self, *, verify: bool) -> Plan:
        """Return what is to be done; with `verify` every content is read for it, else only looked for."""
        plan = Plan()
        audit = make_audit(self._settings, self._engine, self._ids)
        for finding in audit.run():
            if isinstance(finding, Violation):
                self._add(plan, finding)
        if verify:
            known = set(plan.heal)
            with snapshot(self._engine) as connection:
                faults = verify_blobs(self._store, blob_rows(connection, self._ids), Verified())
                plan.heal += [fault.blobid for fault in faults if fault.blobid not in known]
        return plan

    def heal(self, plan: Plan) -> Iterator[Healed | Unhealed]:
        """Heal the contents of `plan`, one after the other. Raises StorageError where the store takes nothing."""
        for blobid in plan.heal:
            with snapshot(self._engine) as connection:
                yield heal(blobid, _holders(connection, blobid), self._store, tries=self._settings.media.file_tries)

    def ingest(self, plan: Plan) -> None:
        """Ingest the media of `plan` again, each once."""
        if plan.ingest:
            self._ingest(self._settings, list(plan.ingest.values()))

    def left(self) -> list[Violation]:
        """Return what does not hold now."""
        audit = make_audit(self._settings, self._engine, self._ids)
        return [finding for finding in audit.run() if isinstance(finding, Violation)]

    def _add(self, plan: Plan, violation: Violation) -> None:
        match violation.mend:
            case Mend.HEAL:
                plan.heal.append(violation.blob)
            case Mend.INGEST if violation.code is Code.LISTING_WITHOUT_ROWS:
                plan.ingest[violation.medium or violation.where] = os.fsencode(violation.where)
            case Mend.INGEST:
                with snapshot(self._engine) as connection:
                    medium = read_medium(connection, violation.medium)
                if medium is None:
                    plan.left.append(violation)
                else:
                    plan.ingest[violation.medium] = medium.root
            case Mend.PERSON:
                plan.left.append(violation)


def _holders(connection: sa.Connection, blobid: str) -> Iterator[Holder]:
    for file in files_with(connection, blobid):
        medium = read_medium(connection, file.medium)
        if medium is not None:
            yield Holder(medium, _work(file))


def _work(file: CopiedFile) -> Work:
    return Work(
        part=file.part,
        ino=file.ino,
        paths=file.paths,
        size=file.size,
        mtime=file.mtime,
        mtime_ns=file.mtime_ns,
        dev=file.dev,
    )
