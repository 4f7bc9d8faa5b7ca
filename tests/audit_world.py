"""A media archive in which everything holds, to be spoiled in one place: database, store, archives, listings, log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from sinks import schema
from sinks.media.audit.auditing import Audit
from sinks.media.audit.folders import Places
from sinks.media.audit.holdings import IMPORTED
from sinks.media.audit.log import Said
from sinks.media.audit.violations import Finding, Judged, Violation
from sinks.media.rows import path_digest
from tallystick.contracts.stages import Verdict
from tallystick.storage.store import blob_path

MEDIUM = "da69350a4e9f62f0c2a8a6a3ad5d2c11"
TIMES = {
    "identified": "2026-01-01T00:00:00.000000Z",
    "enumerated": "2026-01-01T00:01:00.000000Z",
    "loaded": "2026-01-01T00:02:00.000000Z",
    "copied": "2026-01-01T00:03:00.000000Z",
    "archived": "2026-01-01T00:04:00.000000Z",
}
FILES = {b"docs/a.txt": b"alpha", b"docs/b\n\xff.txt": b"beta", b"docs/again.txt": b"alpha"}
ZSTD = b"\x28\xb5\x2f\xfd" + bytes(20)


def digest(content: bytes) -> str:
    """The blob id of a content."""
    return blake3(content).hexdigest()


class Archive:
    """A media archive in a folder and a database. `said` is what the log says of each medium."""

    def __init__(self, engine: sa.Engine, root: Path) -> None:
        self.engine, self.root = engine, root
        self.places = Places(store=root / "by-hash", archives=root / "archive", listings=root / "raw")
        for folder in (self.places.store, self.places.archives, self.places.listings, root / "images"):
            folder.mkdir(parents=True, exist_ok=True)
        self.said: dict[str, Said] = {}

    # --- what is there ---

    def add_medium(
        self, medium: str = MEDIUM, *, name: str = "cdrom", files: dict[bytes, bytes] | None = None, form: str = "image"
    ) -> None:
        """A medium that is complete: identified, enumerated, loaded, copied, archived."""
        files = FILES if files is None else files
        image = self.image(medium)
        image.write_bytes(b"image of " + medium.encode())
        self.put(
            schema.media,
            medium=medium,
            revision=1,
            form=form,
            name=name,
            root=bytes(image),
            image=bytes(image),
            map=b"",
            size=image.stat().st_size,
            digest="",
            model="",
            serial="",
            message="",
            acknowledged="",
            grows=False,
            identified_at=TIMES["identified"],
        )
        self.add_inode(medium, 1, "d", b".")
        self.add_inode(medium, 2, "d", b"docs")
        for ino, (path, content) in enumerate(files.items(), 3):
            self.add_inode(medium, ino, "f", path, size=len(content))
            self.add_copy(medium, ino, path, content)
        records = len(files) + 2
        self.listing(medium).write_bytes(
            b"".join(b"f\x1c1\x1c%d\x1c1\x1c0\x1c0\x1cx\0" % ino for ino in range(records))
        )
        self.archive(medium).write_bytes(ZSTD)
        self.add_source(medium, form, records=records)

    def add_tree(self, medium: str, folder: Path) -> None:
        """A folder whose files are as they are, copied and loaded."""
        common = {"revision": 1, "model": "", "serial": "", "message": "", "acknowledged": "", "grows": False}
        self.put(
            schema.media,
            medium=medium,
            form="tree",
            name=folder.name,
            root=bytes(folder),
            image=b"",
            map=b"",
            size=0,
            digest="",
            identified_at=TIMES["identified"],
            **common,
        )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in files:
            found, name = path.lstat(), bytes(path.relative_to(folder))
            self.add_inode(medium, found.st_ino, "f", name, size=found.st_size, mtime_ns=found.st_mtime_ns)
            self.add_copy(medium, found.st_ino, name, path.read_bytes())
        self.archive(medium).write_bytes(ZSTD)
        self.add_source(medium, "tree", records=len(files))

    def add_source(self, medium: str, form: str, *, records: int) -> None:
        """The source of a medium, all its stages succeeded, here and in the log."""
        self.put(
            schema.sources,
            source_id=medium,
            revision=9,
            kind=f"media.{form}",
            name="x",
            attempt=1,
            claimed_attempt=1,
            confirmed_attempt=1,
        )
        for ordinal, (stage, at) in enumerate(TIMES.items()):
            self.put(
                schema.source_stages,
                source_id=medium,
                stage=stage,
                ordinal=ordinal,
                attempt=1,
                verdict=Verdict.SUCCEEDED.value,
                reason="",
                claimed=records,
                observed=records,
                started_at=at,
                ended_at=at,
                evidence={"claim": {"counts": {"records": records}}},
            )
        self.said[medium] = Said(1, frozenset(TIMES))

    def add_inode(
        self, medium: str, ino: int, kind: str, path: bytes, *, size: int = 0, excluded: str = "", mtime_ns: int = 0
    ) -> None:
        """An inode with one path; `mtime_ns` is all of its time."""
        self.put(
            schema.media_inodes,
            medium=medium,
            part=0,
            ino=ino,
            revision=1,
            dev=0,
            type=kind,
            nlink=1,
            size=size,
            mtime=mtime_ns // 1_000_000_000,
            mtime_ns=mtime_ns % 1_000_000_000,
            rdev=0,
            marks=[],
        )
        self.add_path(medium, ino, path, excluded=excluded)

    def add_path(self, medium: str, ino: int, path: bytes, *, excluded: str = "") -> None:
        """One more path of an inode."""
        self.put(
            schema.media_paths,
            medium=medium,
            part=0,
            path_digest=path_digest(path),
            path=path,
            revision=1,
            ino=ino,
            target=b"",
            excluded=excluded,
        )

    def add_copy(self, medium: str, ino: int, path: bytes, content: bytes) -> None:
        """A successful copy: its row, the blob's row, and the file in the store."""
        blobid = digest(content)
        self.put(
            schema.media_copies,
            medium=medium,
            part=0,
            ino=ino,
            revision=1,
            status="success",
            blobid=blobid,
            sha256="",
            size=len(content),
            created=True,
            detail="",
            tries=1,
            path=path,
            copied_at=TIMES["copied"],
        )
        if not self.rows(sa.select(schema.media_blobs).where(schema.media_blobs.c.blobid == blobid)):
            self.put(schema.media_blobs, blobid=blobid, sha256="", size=len(content))
        self.store(content)

    def add_import(self, medium: str, *, enum_done: str, copy_done: str, counts: dict[str, int]) -> None:
        """What another program said of a medium."""
        self.put(
            schema.media_runs,
            medium=medium,
            run=1,
            revision=1,
            stage=IMPORTED,
            attempt=0,
            worker="test",
            started_at=TIMES["identified"],
            ended_at=TIMES["identified"],
            seconds=0.0,
            exit_code=0,
            detail="",
            counts=counts,
            evidence={"enum_done": enum_done, "copy_done": copy_done},
        )

    def store(self, content: bytes, *, name: str = "") -> Path:
        """A file in the store; under another `name`, where one is given."""
        path = self.places.store / blob_path(name or digest(content))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def blob(self, content: bytes) -> Path:
        """Where a content lies."""
        return self.places.store / blob_path(digest(content))

    def image(self, medium: str = MEDIUM) -> Path:
        """Where an image lies."""
        return self.root / "images" / f"{medium}.img"

    def archive(self, medium: str = MEDIUM) -> Path:
        """Where an archive lies."""
        return self.places.archives / f"{medium}.tar.zst"

    def listing(self, medium: str = MEDIUM) -> Path:
        """Where a listing lies."""
        return self.places.listings / f"{medium}.raw"

    # --- the database ---

    def put(self, table: sa.Table, **values: Any) -> None:
        """Insert a row."""
        with self.engine.begin() as connection:
            connection.execute(table.insert().values(**values))

    def change(self, statement: sa.Update | sa.Delete) -> None:
        """Change rows; fails where there were none."""
        with self.engine.begin() as connection:
            assert connection.execute(statement).rowcount > 0

    def rows(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        """Return rows."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def forget_stage(self, stage: str, medium: str = MEDIUM) -> None:
        """Take the verdict on a stage back, here and in the log."""
        table = schema.source_stages
        self.change(
            table.update()
            .where(table.c.source_id == medium, table.c.stage == stage)
            .values(verdict=None, ended_at=None)
        )
        said = self.said[medium]
        self.said[medium] = msgspec.structs.replace(said, succeeded=said.succeeded - {stage})

    def forget_source(self, medium: str = MEDIUM) -> None:
        """Take all verdicts back."""
        for table in (schema.sources, schema.source_stages):
            self.change(table.delete().where(table.c.source_id == medium))
        del self.said[medium]

    # --- the audit ---

    def audit(self, ids: Sequence[str] | None = None) -> Audit:
        """An audit that waits for nothing."""
        return Audit(self.engine, self.places, read_log=lambda: self.said, ids=ids, settle_seconds=0.0)

    def findings(self, ids: Sequence[str] | None = None) -> list[Finding]:
        """All that an audit finds."""
        return list(self.audit(ids).run())

    def violations(self, ids: Sequence[str] | None = None) -> list[Violation]:
        """The violations that an audit finds."""
        return [finding for finding in self.findings(ids) if isinstance(finding, Violation)]

    def codes(self, ids: Sequence[str] | None = None) -> list[str]:
        """Their codes."""
        return [violation.code.value for violation in self.violations(ids)]

    def standing(self, medium: str = MEDIUM) -> str:
        """The class of a medium."""
        [found] = [one for one in self.findings() if isinstance(one, Judged) and one.medium == medium]
        return found.standing.value
