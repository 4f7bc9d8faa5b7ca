"""The roles under `tally run` that list and fetch repositories: each imports what it needs within its function."""

from functools import partial
from typing import Annotated

import typer

from tallystick.cli.role_words import teller
from tallystick.errors import UsageError
from tallystick.local import stack
from tallystick.settings import load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.restarting import PARTIAL_CODE
from tallystick.supervision.roles import run_role


def register(roles: typer.Typer) -> None:
    """Add them to `tally run`."""
    for command in (atproto_lister, atproto_fetcher):
        roles.command()(command)


def atproto_lister(
    *,
    host: Annotated[str, typer.Option(help="The host to list; with --did, the one to fetch from.")] = "",
    again: Annotated[bool, typer.Option("--again", help="List anew from time to time, until it is stopped.")] = False,
    dids: Annotated[list[str] | None, typer.Option("--did", help="List nothing, ask for this account.")] = None,
    collections: Annotated[
        list[str] | None, typer.Option("--collection", help="Only records of it, such as app.bsky.*")
    ] = None,
    since: Annotated[str, typer.Option("--since-rev", help="Only what has changed since this revision.")] = "",
) -> None:
    """Ask for all repositories of a host, or for some by --did. Prints progress and outcomes as JSON lines.

    Exit code 3: the list could not be read to its end; the next run goes on.
    """
    from producers.atproto.backfill.asking import check_dids, options_of
    from producers.atproto.hosts import host_of

    options = options_of(collections or (), since)
    check_dids(dids or ())
    wanted = host_of(host) if host else None
    if wanted is None and not dids:
        raise UsageError("say whose repositories: --host, or --did")
    if dids and again:
        raise UsageError("--again goes with a list, not with --did")

    def work(stop: StopFlag) -> int | None:
        from producers.atproto.backfill.listing import ask_for, list_host
        from producers.atproto.counters import Counters

        tell = teller(stop)
        settings = stack.resolve(load_settings())
        if dids or wanted is None:
            check_dids(dids or (), settings.atproto.dids)
            ask_for(settings, dids or (), options, host=wanted, on_outcome=partial(tell, "outcome"))
            return None
        listed = list_host(
            settings,
            wanted,
            options,
            again=again,
            stop=stop,
            counters=Counters(partial(tell, "measures")),
            on_progress=partial(tell, "progress"),
            on_outcome=partial(tell, "outcome"),
        )
        return None if listed else PARTIAL_CODE

    raise typer.Exit(run_role("atproto-lister", work))


def atproto_fetcher() -> None:
    """Fetch repositories that are asked for, until it is stopped. Prints measures as JSON lines."""

    def work(stop: StopFlag) -> None:
        from producers.atproto.backfill.fetcher import run_fetcher

        run_fetcher(stack.resolve(load_settings()), stop, tell=partial(teller(stop), "measures"))

    raise typer.Exit(run_role("atproto-fetcher", work))
