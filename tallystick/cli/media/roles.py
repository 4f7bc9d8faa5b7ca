"""The roles of the media archive under `tally run`: each imports what it needs within its function."""

from functools import partial
from typing import Annotated

import typer

from tallystick.cli.role_words import teller
from tallystick.cli.warm import IMPORTED_FOR_MEDIA, warm_up
from tallystick.local import stack
from tallystick.settings import load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.restarting import PARTIAL_CODE
from tallystick.supervision.roles import run_role


def register(roles: typer.Typer) -> None:
    """Add them to `tally run`."""
    for command in (media_identifier, media_worker, media_stage):
        roles.command()(command)


def media_identifier(
    targets: Annotated[list[str], typer.Argument(help="Devices, images, folders, listings.")],
    *,
    message: Annotated[str, typer.Option(help="A word about the media.")] = "",
    until: Annotated[str, typer.Option(help="The last stage.")] = "",
    acknowledge: Annotated[str, typer.Option(help="Why losses are accepted.")] = "",
    grow: Annotated[bool, typer.Option("--grow", help="Accept another content than before.")] = False,
) -> None:
    """Identify media, and begin an attempt at each. Prints progress and outcomes as JSON lines."""
    from producers.media.identifier import Wish, identify

    wish = Wish(tuple(targets), message=message, until=until, acknowledged=acknowledge, grows=grow)

    def work(stop: StopFlag) -> int | None:
        tell = teller(stop)
        progress = partial(tell, "progress")
        outcomes = identify(stack.resolve(load_settings()), wish, stop=stop, on_progress=progress)
        for outcome in outcomes:
            tell("outcome", outcome)
        return PARTIAL_CODE if not stop() and any(outcome.state == "failed" for outcome in outcomes) else None

    raise typer.Exit(run_role("media-identifier", work))


def media_worker() -> None:
    """Carry out what verdicts command for media: each stage in a process of its own."""

    def work(stop: StopFlag) -> None:
        from tallystick.cli.media.worker import run_worker

        warm_up(*IMPORTED_FOR_MEDIA)
        run_worker(stack.resolve(load_settings()), stop)

    raise typer.Exit(run_role("media-worker", work))


def media_stage(
    stage: Annotated[str, typer.Argument(help="The stage: imaged, enumerated, copied or archived.")],
    medium: Annotated[str, typer.Argument(help="The medium's id.")],
    *,
    attempt: Annotated[int, typer.Option(help="The attempt that it belongs to.")],
    run: Annotated[int, typer.Option(help="The fencing token.")],
) -> None:
    """Work on one stage of one medium; a worker starts it. Prints how far it is, and its claim, as JSON lines."""
    from tallystick.contracts.media import CLAIMING

    def work(stop: StopFlag) -> int | None:
        from tallystick.cli.media.stages import run_stage

        return run_stage(stack.resolve(load_settings()), stage, medium=medium, attempt=attempt, run=run, stop=stop)

    raise typer.Exit(run_role(f"media-{stage}", work, done_codes=CLAIMING))
