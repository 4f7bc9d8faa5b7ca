"""`tally run ROLE`: one role as one process, for a supervisor, a container or a terminal.

`python -m tallystick.cli.run ROLE` is the same without the other commands, so that a role starts in half the time: each
imports only what it needs, and therefore within its function.
"""

import sys
from typing import Annotated

import orjson
import typer

from producers.cowrie.formats import Format
from producers.cowrie.plan import Begin, Plan, Until
from tallystick.cli.entry import run
from tallystick.errors import UsageError
from tallystick.local import stack
from tallystick.settings import load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.restarting import PARTIAL_CODE
from tallystick.supervision.roles import run_role


def register(app: typer.Typer) -> None:
    """Add `run` to the command line."""
    app.add_typer(_roles(), name="run")


def _roles() -> typer.Typer:
    roles = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Run one role in the foreground until it is told to stop.",
    )
    for command in (reader, rekey, agents, sinks, verifier):
        roles.command()(command)
    return roles


def reader(
    paths: Annotated[list[str], typer.Argument(help="Log files, folders or patterns.")],
    *,
    sensor: Annotated[str | None, typer.Option(help="The sensor of events that name none.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How events stand in the files.")] = Format.AUTO,
) -> None:
    """Read Cowrie logs to their end. Prints progress and outcomes as JSON lines; exit 3 if a file could not be read."""
    from producers.cowrie.progress import FileOutcome, Progress
    from producers.cowrie.reader import read_paths

    def tell(kind: str, what: FileOutcome | Progress) -> None:
        sys.stdout.buffer.write(orjson.dumps({kind: _as_dict(what)}) + b"\n")
        sys.stdout.buffer.flush()

    def work(stop: StopFlag) -> int | None:
        outcomes = read_paths(
            stack.resolve(load_settings()),
            paths,
            sensor=sensor,
            stop=stop,
            on_progress=lambda p: tell("progress", p),
            form=form,
        )
        for outcome in outcomes:
            tell("outcome", outcome)
        return PARTIAL_CODE if not stop() and any(outcome.state == "failed" for outcome in outcomes) else None

    raise typer.Exit(run_role("reader", work))


def rekey(
    *,
    topic: Annotated[str, typer.Option(help="The topic that Cowrie writes to.")] = "cowrie",
    sensor: Annotated[str | None, typer.Option(help="The sensor of events that name none.")] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="The Kafka that has the topic, where it isn't the configured one.")
    ] = None,
    begin: Annotated[
        Begin, typer.Option("--from", help="Where a partition begins that was never read.")
    ] = Begin.BEGINNING,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop at the end that the topic has now, and claim all of it.")
    ] = False,
) -> None:
    """Take what Cowrie's own Kafka output writes, and send it on by sensor and session."""

    def work(stop: StopFlag) -> None:
        from producers.cowrie.rekey import rekey as run_rekey

        plan = Plan(
            topic=topic,
            sensor=sensor,
            bootstrap_servers=bootstrap_servers,
            begin=begin,
            until=Until.END if until_end else Until.STOPPED,
        )
        run_rekey(stack.resolve(load_settings()), plan, stop)

    raise typer.Exit(run_role("rekey", work))


def agents() -> None:
    """Run the Faust agents: sessions and stages."""

    def work(stop: StopFlag) -> int | None:
        from streams.worker import run_agents

        code = run_agents(stack.resolve(load_settings()), stop)
        if code == 0 and not stop():
            stop.request("SIGTERM or SIGINT, taken by Faust")
        return code or None

    raise typer.Exit(run_role("agents", work))


def sinks(
    names: Annotated[list[str] | None, typer.Argument(help="Which sinks; all of them if none is named.")] = None,
) -> None:
    """Run sinks, one thread each."""
    from sinks.roles import SINKS, run_sinks

    chosen = names or list(SINKS)
    if unknown := sorted(set(chosen) - set(SINKS)):
        raise UsageError(f"no such sink: {', '.join(unknown)}; there are {', '.join(SINKS)}")

    def work(stop: StopFlag) -> None:
        run_sinks(stack.resolve(load_settings()), chosen, stop)

    raise typer.Exit(run_role(f"sinks-{'-'.join(chosen)}" if names else "sinks", work))


def verifier() -> None:
    """Run the verifier: recounts in the database what a verdict commands it to."""

    def work(stop: StopFlag) -> None:
        from sinks.roles import run_verifier

        run_verifier(stack.resolve(load_settings()), stop)

    raise typer.Exit(run_role("verifier", work))


def _as_dict(what: object) -> object:
    import msgspec

    return msgspec.to_builtins(what)


if __name__ == "__main__":
    run(_roles())
