"""`tally run ROLE`: one role as one process, for a supervisor, a container or a terminal.

`python -m tallystick.cli.run ROLE` is the same without the other commands, so that a role starts in half the time: each
imports only what it needs, and therefore within its function.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from producers.cowrie.formats import Format
from producers.cowrie.plan import Begin, Plan, Until
from producers.cowrie.selection import Followed, Job
from tallystick.cli.atproto import backfill_roles, redis_role, stream_roles
from tallystick.cli.entry import run
from tallystick.cli.media import roles as media_roles
from tallystick.cli.role_words import teller
from tallystick.cli.warm import warm_up
from tallystick.errors import UsageError
from tallystick.local import stack
from tallystick.logs import get_logger
from tallystick.settings import Settings, load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.restarting import PARTIAL_CODE
from tallystick.supervision.roles import run_role

log = get_logger(__name__)

SENSOR_HELP = "With PATHS: the sensor of events that name none. Without: which configured ones to read, as all or A,B."
DAYS_HELP = "Without PATHS: leave out files whose content is older than so many days."
FORMAT_HELP = "With PATHS: how events stand in the files; else as the sensor says, or as their beginning shows."


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
    for command in (reader, rekey, importer, retrier, agents, sinks, verifier):
        roles.command()(command)
    media_roles.register(roles)
    stream_roles.register(roles)
    backfill_roles.register(roles)
    redis_role.register(roles)
    roles.command("all")(everything)
    return roles


Sensor = Annotated[str | None, typer.Option("--sensor", help=SENSOR_HELP)]


def reader(
    paths: Annotated[list[str] | None, typer.Argument(help="Log files, folders or patterns.")] = None,
    *,
    sensor: Sensor = None,
    days: Annotated[int | None, typer.Option(min=0, help=DAYS_HELP)] = None,
    form: Annotated[Format | None, typer.Option("--format", help=FORMAT_HELP)] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Follow the logs as they are written, until the reader is told to stop.")
    ] = False,
) -> None:
    """Read Cowrie logs to their end. Prints progress and outcomes as JSON lines; exit 3 if a file could not be read.

    Without PATHS the files of configured sensors are read: `--sensor all`, or some names.
    With --follow it goes on reading as they grow, are rotated and compressed, and claims each one that is complete.
    """
    from tallystick.cli.choosing import Asked, followed_of, jobs_of

    asked = Asked(tuple(paths or ()), sensor=sensor, days=days, form=form)
    (asked.check_followed if follow else asked.check)()

    def work(stop: StopFlag) -> int | None:
        settings = load_settings()
        if follow:
            return _follow(settings, followed_of(settings, asked), stop)
        return _read(settings, jobs_of(settings, asked), days, stop)

    raise typer.Exit(run_role("reader", work))


def _read(settings: Settings, jobs: Sequence[Job], days: int | None, stop: StopFlag) -> int | None:
    from producers.cowrie.reader import read_jobs
    from tallystick.cli.choosing import left_out

    for line in left_out(jobs, days):
        log.info("files left out", told=line)
    tell = teller(stop)
    outcomes = read_jobs(stack.resolve(settings), jobs, stop=stop, on_progress=partial(tell, "progress"))
    for outcome in outcomes:
        tell("outcome", outcome)
    return PARTIAL_CODE if not stop() and any(outcome.state == "failed" for outcome in outcomes) else None


def _follow(settings: Settings, followed: Sequence[Followed], stop: StopFlag) -> int | None:
    from producers.cowrie.following.loop import follow_logs

    tell = teller(stop)
    follow_logs(
        stack.resolve(settings),
        followed,
        stop=stop,
        on_progress=partial(tell, "progress"),
        on_outcome=partial(tell, "outcome"),
    )
    return None


def everything(
    paths: Annotated[list[str] | None, typer.Argument(help="Log files, folders or patterns.")] = None,
    *,
    sensor: Sensor = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /metrics, /health and /ready here; else metrics.port.")
    ] = None,
) -> None:
    """Run all roles, supervised, with a reader that follows the logs: what a service is made of.

    Without PATHS the files of configured sensors are followed: `--sensor all`, or some names.
    Creates the topics and brings the database up to date first. A role that ends is started again, for as long as that
    can help; the log says why it ended. Stops all of them on SIGTERM. Exit 2 or 78: the command line or the
    configuration is wrong, so that another start can't help.
    """
    from tallystick.cli.all_roles import serve
    from tallystick.cli.choosing import Asked, followed_of
    from tallystick.cli.service import with_metrics_port

    asked = Asked(tuple(paths or ()), sensor=sensor)
    asked.check_followed()
    warm_up()

    def work(stop: StopFlag) -> int | None:
        settings = with_metrics_port(load_settings(), metrics_port)
        followed_of(settings, asked)
        return serve(settings, asked.paths, sensor=sensor, stop=stop)

    raise typer.Exit(run_role("all", work))


def importer(
    url: Annotated[str, typer.Option(envvar="TALLY_IMPORT_URL", help="The database of cowrieprocessor.")],
    *,
    since: Annotated[str, typer.Option(help="Of events from this time on.")] = "",
    until: Annotated[str, typer.Option(help="Of events before this time.")] = "",
    sensor: Annotated[str | None, typer.Option(help="The sensor of events that name none.")] = None,
) -> None:
    """Import a database of cowrieprocessor to its end. Prints progress and outcomes as JSON lines."""
    from producers.cowrie.importing.importer import import_database

    def work(stop: StopFlag) -> None:
        tell = teller(stop)
        for outcome in import_database(
            stack.resolve(load_settings()),
            url,
            since=since,
            until=until,
            sensor=sensor,
            stop=stop,
            on_progress=partial(tell, "progress"),
        ):
            tell("outcome", outcome)

    raise typer.Exit(run_role("importer", work))


def retrier(
    plans: Annotated[list[Path], typer.Argument(help="What is to be sent, as `tally dlq retry` wrote it.")],
) -> None:
    """Send the content of dead letters once more. Prints progress and the outcome as JSON lines."""
    from producers.cowrie.retrying import retry_plans

    def work(stop: StopFlag) -> None:
        tell = teller(stop)
        progress = partial(tell, "progress")
        for outcome in retry_plans(stack.resolve(load_settings()), plans, stop=stop, on_progress=progress):
            tell("outcome", outcome)

    raise typer.Exit(run_role("retrier", work))


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
    """Run the Faust agents: sessions, stages and repositories."""

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


def main() -> None:
    """Run the role that the command line names."""
    run(_roles())


if __name__ == "__main__":
    main()
