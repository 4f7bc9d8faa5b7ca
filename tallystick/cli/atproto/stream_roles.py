"""The roles under `tally run` that follow the streams of hosts: each imports what it needs within its function."""

from functools import partial
from typing import Annotated

import typer

from tallystick.cli.role_words import teller
from tallystick.contracts.atproto import FIREHOSE_KIND, LABELS_KIND
from tallystick.local import stack
from tallystick.settings import load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.roles import run_role


def register(roles: typer.Typer) -> None:
    """Add them to `tally run`."""
    for command in (atproto_firehose, atproto_labeler):
        roles.command()(command)


HostOption = Annotated[str, typer.Option("--host", help="The host to follow, such as bsky.network.")]
BeginOption = Annotated[
    str,
    typer.Option(
        "--from",
        help="Where a stream begins that was never read: live, oldest, or behind the event of a number."
        " Without it, as atproto.begin says, and of labels atproto.labels_begin.",
    ),
]


def atproto_firehose(*, host: HostOption, begin: BeginOption = "") -> None:
    """Follow the commits of a host, until it is stopped. Prints measures as JSON lines.

    Exit 78: the host refuses the stream, or has not come as far as the cursor, so that another start can't help.
    """
    _follow("atproto-firehose", FIREHOSE_KIND, host, begin)


def atproto_labeler(*, host: HostOption, begin: BeginOption = "") -> None:
    """Follow the labels of a labeler, until it is stopped. Prints measures as JSON lines. Exit 78 as for a firehose."""
    _follow("atproto-labeler", LABELS_KIND, host, begin)


def _follow(role: str, kind: str, host: str, begin: str) -> None:
    from producers.atproto.hosts import host_of
    from producers.atproto.live.following import begin_of, follow

    followed = host_of(host)
    given = begin_of(begin) if begin else None

    def work(stop: StopFlag) -> None:
        settings = stack.resolve(load_settings())
        configured = settings.atproto.labels_begin if kind == LABELS_KIND else settings.atproto.begin
        follow(
            settings,
            followed,
            kind=kind,
            begin=configured if given is None else given,
            stop=stop,
            on_measures=partial(teller(stop), "measures"),
        )

    raise typer.Exit(run_role(role, work))
