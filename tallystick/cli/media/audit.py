"""`tally media audit`: what does not hold in the archive, one row a violation, and how every medium stands."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
import sqlalchemy as sa
import typer

from sinks.media.audit.auditing import Audit, Looked
from sinks.media.audit.folders import Places
from sinks.media.audit.log import read_log
from sinks.media.audit.violations import MEANINGS, Code, Finding, Judged, MediumClass, Violation
from sinks.projection import projection_id
from tallystick.cli.media.opening import JsonDocument, choose, could_not_look, opened_archive, places
from tallystick.cli.terminal import safe
from tallystick.contracts.media import ExitCode
from tallystick.contracts.text import printable
from tallystick.contracts.topics import SOURCE_STAGES
from tallystick.database.engine import snapshot
from tallystick.settings import Settings

Media = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MEDIUM]...", help="Media by id, the beginning of an id, or name; all without any."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(group: typer.Typer) -> None:
    """Add `audit` to `tally media`."""
    group.command()(audit)


def audit(media: Media = None, *, as_json: Json = False) -> None:
    """Look for what does not hold: in the database, the store, archives, listings and the log. Changes nothing.

    Exit code 0: all that was looked at holds. 6: there are violations. 4: there is no medium to look at. 1 or 78: it
    could not look.
    """
    with could_not_look("0 media checked"), opened_archive() as (settings, engine):
        with snapshot(engine) as connection:
            ids = choose(connection, media or ())
        work = make_audit(settings, engine, ids)
        report = JsonReport() if as_json else TextReport()
        for finding in work.run():
            report.take(finding)
        report.end(work.looked, places(settings))
    if report.violations:
        raise typer.Exit(ExitCode.UNVERIFIED)
    raise typer.Exit(ExitCode.DONE if work.looked.media else ExitCode.PRECONDITION)


def make_audit(settings: Settings, engine: sa.Engine, ids: Sequence[str] | None) -> Audit:
    """Return an audit of the media with the given ids, or of all."""
    projection = projection_id(engine)
    return Audit(
        engine,
        places(settings),
        read_log=lambda: read_log(settings, projection=projection),
        ids=ids,
        settle_seconds=settings.verifier.settle_seconds,
    )


class _Report:
    """Counts what is found."""

    def __init__(self) -> None:
        self.violations: Counter[Code] = Counter()
        self.classes: Counter[MediumClass] = Counter()

    def take(self, finding: Finding) -> None:
        """Take one finding."""
        if isinstance(finding, Violation):
            self.violations[finding.code] += 1
        else:
            self.classes[finding.standing] += 1


class TextReport(_Report):
    """The audit for people: a row a violation, as it is found, and the sums."""

    def take(self, finding: Finding) -> None:
        """See _Report."""
        if isinstance(finding, Violation):
            if not self.violations:
                _row("code", "medium", "what", "where", "what to do")
            subject = finding.medium or finding.blob[:31] + "…" if finding.medium or finding.blob else "-"
            _row(finding.code, subject, finding.what, finding.where, finding.advice)
        super().take(finding)

    def end(self, looked: Looked, folders: Places) -> None:
        """Print the sums, and what was looked at."""
        if self.violations:
            typer.echo()
        for code in Code:
            if number := self.violations[code]:
                typer.echo(f"{number:>9,}  {code:<4} {MEANINGS[code]}")
        for standing in MediumClass:
            if number := self.classes[standing]:
                typer.echo(f"{number:>9,}  {standing}")
        for line in looked_at(looked, folders):
            typer.echo(line)
        total = self.violations.total()
        typer.echo(f"{looked.media:,} media checked, {total:,} violations" if looked.media else "0 media checked")


class JsonReport(_Report):
    """The audit for programs: one document, printed while it is made."""

    def __init__(self) -> None:
        super().__init__()
        self._document = JsonDocument()
        self._media: list[object] = []

    def take(self, finding: Finding) -> None:
        """See _Report."""
        super().take(finding)
        if isinstance(finding, Judged):
            self._media.append(msgspec.to_builtins(finding))
            return
        texts = {"where": printable(finding.where), "advice": printable(finding.advice)}
        self._document.add("violations", msgspec.to_builtins(finding) | texts)

    def end(self, looked: Looked, folders: Places) -> None:
        """Print the rest."""
        self._document.end(
            {
                "media": self._media,
                "media_checked": looked.media,
                "codes": {code.value: self.violations[code] for code in Code},
                "classes": {standing.value: self.classes[standing] for standing in MediumClass},
                "looked_at": [printable(line) for line in looked_at(looked, folders)],
            }
        )


def looked_at(looked: Looked, folders: Places) -> Iterable[str]:
    """Yield in lines what an audit has looked at, and what it did not judge."""
    yield f"looked at {looked.media:,} media and {looked.blobs:,} blobs in the database"
    yield f"looked at {looked.files:,} files in the store {safe(str(folders.store))}; digests: `tally media verify`"
    for name, folder in (("archives", folders.archives), ("listings", folders.listings)):
        yield f"looked at {name} in {safe(str(folder))}{'' if folder.is_dir() else ', which is not there'}"
    yield f"looked at {looked.said:,} media in the log, topic {SOURCE_STAGES.name}"
    for what in looked.unjudged:
        yield f"not judged: {what}"


def _row(code: str, subject: str, what: str, where: str, advice: str) -> None:
    typer.echo(f"{code:<4}  {safe(subject):<32}  {safe(what)}  {safe(where)}  {safe(advice)}")
