"""What the commands on media share: the archive opened, media chosen by what people call them, JSON as it comes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson
import sqlalchemy as sa
import typer

from sinks import migrate
from sinks.media.audit.folders import Places
from sinks.media.reading import find_media
from tallystick.cli.terminal import safe
from tallystick.contracts.media import Medium
from tallystick.contracts.text import printable
from tallystick.database.engine import make_engine
from tallystick.database.errors import told_plainly
from tallystick.errors import ServiceError, TallyError, UsageError
from tallystick.local import stack
from tallystick.logs import configure
from tallystick.settings import Settings, load_settings

_MOST_NAMED = 5


@contextmanager
def opened_archive() -> Iterator[tuple[Settings, sa.Engine]]:
    """Give settings and an engine for the database as it is: nothing is changed by looking.

    Raises ConfigurationError where its schema is behind, ServiceError where it can't be used.
    """
    settings = stack.resolve(load_settings())
    configure(settings, role="media")  # so that no line of the log comes between those that programs read
    engine = make_engine(settings)
    try:
        with told_plainly():
            migrate.require_head(engine)
            yield settings, engine
    finally:
        engine.dispose()


@contextmanager
def could_not_look(nothing: str) -> Iterator[None]:
    """Say `nothing`, such as "0 media checked", where something can't be looked at; errors of files are ours then."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on, as in `… | head`
        raise
    except (TallyError, OSError) as error:
        typer.echo(f"{nothing}: not everything could be looked at, so nothing is known", err=True)
        if isinstance(error, TallyError):
            raise
        raise ServiceError(f"{safe(printable(str(error)))}: see that it is there, and may be read") from error


def places(settings: Settings) -> Places:
    """Return the folders of the archive."""
    return Places(store=settings.media_store, archives=settings.media_archives, listings=settings.media_listings)


def choose(connection: sa.Connection, words: Sequence[str]) -> list[str] | None:
    """Return the ids of the media that `words` name, by id, the beginning of an id, or name; None for no words at all.

    Raises UsageError for a word that names none, or several.
    """
    return [choose_one(connection, word).medium for word in words] or None


def choose_one(connection: sa.Connection, word: str) -> Medium:
    """Return the medium that `word` names. Raises UsageError where that is none, or several."""
    found = find_media(connection, printable(word))
    if not found:
        raise UsageError(f"there is no medium {safe(word)}: `tally media list` shows those that there are")
    if len(found) > 1:
        some = ", ".join(medium.medium for medium in found[:_MOST_NAMED]) + (" …" if len(found) > _MOST_NAMED else "")
        raise UsageError(f"{safe(word)} names several media: {some}; give more of the id")
    return found[0]


class JsonDocument:
    """One JSON object, printed while it is made, so that nothing has to be held: lists first, then the rest."""

    def __init__(self) -> None:
        self._open, self._some = "", False
        typer.echo("{", nl=False)

    def add(self, name: str, value: object) -> None:
        """Print one more element of the list `name`; the elements of a list must come one after the other."""
        if name != self._open:
            self._close()
            typer.echo(f'"{name}": [', nl=False)
            self._open = name
        else:
            typer.echo(",", nl=False)
        typer.echo("\n  " + orjson.dumps(value).decode(), nl=False)
        self._some = True

    def end(self, rest: dict[str, object]) -> None:
        """Print the members that are no lists of their own, and the end."""
        self._close()
        typer.echo(orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode().removeprefix("{"))

    def _close(self) -> None:
        if self._open:
            typer.echo("\n],\n", nl=False)
            self._open = ""
