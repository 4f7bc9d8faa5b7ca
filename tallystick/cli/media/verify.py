"""`tally media verify`: contents and archives read again, and whatever is wrong with every path that it touches."""

import os
import secrets
from base64 import b64encode
from collections.abc import Iterator
from typing import Annotated

import typer

from sinks.media.audit.contents import Fault, Touched, blob_rows, sampled, touched
from sinks.media.audit.fixity import ArchiveFault, Verified, verify_archives, verify_blobs
from sinks.media.audit.store import require_store
from tallystick.cli.media.audit import Json, Media
from tallystick.cli.media.opening import JsonDocument, choose, could_not_look, opened_archive, places
from tallystick.cli.terminal import safe
from tallystick.contracts.media import ExitCode
from tallystick.contracts.text import printable
from tallystick.database.engine import snapshot
from tallystick.errors import UsageError
from tallystick.storage.store import Store

SHARE = 0.05


def register(group: typer.Typer) -> None:
    """Add `verify` to `tally media`."""
    group.command()(verify)


def verify(
    media: Media = None,
    *,
    sample: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Read this share of the blobs, chosen by chance.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Read every blob, and decode every archive.")] = False,
    seed: Annotated[int | None, typer.Option(help="Choose as the run that printed this number did.")] = None,
    as_json: Json = False,
) -> None:
    """Read contents of the store again, hash them, and name every path and medium that a bad one touches.

    Without --sample or --all 5 in 100 blobs are read. Changes nothing: `tally media repair` heals what can be healed.
    Exit code 0: all that was read is sound. 6: something is not. 4: there was nothing to read. 1 or 78: it could not
    look.
    """
    if everything and sample is not None:
        raise UsageError("--all reads everything, --sample a share of it: give one of them")
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    with could_not_look("0 blobs checked"), opened_archive() as (settings, engine), snapshot(engine) as connection:
        ids, folders = choose(connection, media or ()), places(settings)
        store, verified = Store(folders.store), Verified()
        require_store(connection, store)
        rows = blob_rows(connection, ids)
        if not everything:
            rows = sampled(rows, share=SHARE if sample is None else sample, seed=seed)
        report = _JsonReport() if as_json else _TextReport()
        for fault in verify_blobs(store, rows, verified):
            report.take_blob(fault, touched(connection, fault.blobid))
        if everything:
            for wrong in verify_archives(connection, folders, verified, ids):
                report.take_archive(wrong)
        report.end(verified, seed=None if everything else seed)
    if report.faults:
        raise typer.Exit(ExitCode.UNVERIFIED)
    raise typer.Exit(ExitCode.DONE if verified.blobs or verified.archives else ExitCode.PRECONDITION)


class _TextReport:
    """For people: a row for each path that a fault touches, as it is found."""

    def __init__(self) -> None:
        self.faults = 0

    def take_blob(self, fault: Fault, paths: Iterator[Touched]) -> None:
        self.faults += 1
        typer.echo(f"{fault.kind}  {fault.blobid}  {safe(printable(fault.path))}: {safe(fault.detail)}")
        some = False
        for one in paths:
            some = True
            excluded = f", excluded by {one.excluded}" if one.excluded else ""
            typer.echo(f"  touches {one.medium}  {safe(one.name)}  part {one.part}  {shown(one.path)}{excluded}")
        if not some:
            typer.echo("  touches no path that the database knows")

    def take_archive(self, fault: ArchiveFault) -> None:
        self.faults += 1
        typer.echo(f"archive  {fault.medium}  {safe(fault.name)}  {safe(printable(fault.path))}: {safe(fault.detail)}")

    def end(self, verified: Verified, *, seed: int | None) -> None:
        chosen = "" if seed is None else f", chosen by --seed {seed}"
        archives = f", {verified.archives:,} archives decoded" if seed is None else ""
        read = f"{verified.blobs:,} blobs checked{chosen}, {verified.bytes:,} bytes sound{archives}"
        typer.echo(f"{read}; {self.faults:,} faults")


class _JsonReport(_TextReport):
    """For programs: an element for each path that a bad blob touches; one without a medium where it touches none."""

    def __init__(self) -> None:
        super().__init__()
        self._document = JsonDocument()

    def take_blob(self, fault: Fault, paths: Iterator[Touched]) -> None:
        self.faults += 1
        about = {"blob": fault.blobid, "kind": fault.kind, "detail": fault.detail, "file": printable(fault.path)}
        some = False
        for one in paths:
            some = True
            where = {"medium": one.medium, "name": one.name, "part": one.part, "ino": one.ino}
            self._document.add("touched", about | where | as_json_path(one.path))
        if not some:
            self._document.add("touched", about | {"medium": ""})

    def take_archive(self, fault: ArchiveFault) -> None:
        self.faults += 1
        about = {"medium": fault.medium, "name": fault.name, "file": printable(fault.path), "detail": fault.detail}
        self._document.add("archives", about)

    def end(self, verified: Verified, *, seed: int | None) -> None:
        self._document.end(
            {
                "blobs_checked": verified.blobs,
                "bytes_sound": verified.bytes,
                "archives_decoded": verified.archives,
                "faults": self.faults,
                "seed": seed,
            }
        )


def shown(path: bytes) -> str:
    """Return a path for a terminal."""
    return safe(os.fsdecode(path))


def as_json_path(path: bytes) -> dict[str, str]:
    """Return a path for JSON: its bytes in base64, and what people may read of them."""
    return {"path_b64": b64encode(path).decode(), "path": path.decode("utf-8", "backslashreplace")}
