"""`tally atproto firehose`, `labeler` and `all`: services that run until they are stopped."""

from typing import Annotated

import typer

from tallystick import logs
from tallystick.cli.atproto.asking import Asked, Mode, hosts_of, with_asked
from tallystick.cli.atproto.planning import plan_of
from tallystick.cli.service import Service
from tallystick.cli.warm import IMPORTED_FOR_ATPROTO, warm_up
from tallystick.local import stack
from tallystick.logs import get_logger
from tallystick.settings import Settings, load_settings
from tallystick.supervision.child import StopFlag
from tallystick.supervision.exits import Exit
from tallystick.supervision.roles import run_role

log = get_logger(__name__)

Hosts = Annotated[list[str] | None, typer.Option("--host", help="A relay or a personal data server: a name, or a URL.")]
Labelers = Annotated[list[str] | None, typer.Option("--labeler-host", help="A labeler: a name, or a URL.")]
Begin = Annotated[
    str,
    typer.Option(
        "--from",
        help="Where a stream begins that was never read: live, oldest, or a number; else `atproto.begin`, and of"
        " labels `atproto.labels_begin`.",
    ),
]
Dids = Annotated[list[str] | None, typer.Option("--did", help="An account that is wanted; several times for several.")]
Collections = Annotated[
    list[str] | None, typer.Option("--collection", help="A collection that is wanted, or a pattern: app.bsky.*")
]
Languages = Annotated[list[str] | None, typer.Option("--language", help="A language that is wanted, such as de.")]
SinceRev = Annotated[str, typer.Option(help="Of each repository, fetch only what has changed since this revision.")]
IngestOnly = Annotated[
    bool, typer.Option("--ingest-only", help="Fill Kafka only: no agents, no sinks, no verifier on this machine.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Serve /metrics, /health and /ready here, 0: any port; else metrics.port."),
]
LogJson = Annotated[bool, typer.Option("--json", help="Log JSON lines, on a terminal too.")]


def register(group: typer.Typer) -> None:
    """Add the services to the commands of AT Protocol."""
    for command in (firehose, labeler, everything):
        group.command("all" if command is everything else None)(command)


def firehose(
    *,
    host: Hosts = None,
    begin: Begin = "",
    did: Dids = None,
    collection: Collections = None,
    language: Languages = None,
    ingest_only: IngestOnly = False,
    metrics_port: MetricsPort = None,
    as_json: LogJson = False,
) -> None:
    """Follow the commits of hosts, until it is stopped; fetch repositories of which something was missed.

    One process a host, named atproto/firehose/HOST, and those that bring what comes into the database. What ends is
    started again; `tally status` shows why it ended. Exit codes as `tally run all`.
    """
    asked = Asked(
        Mode.FIREHOSE,
        hosts=hosts_of(host),
        begin=begin,
        dids=tuple(did or ()),
        collections=tuple(collection or ()),
        languages=tuple(language or ()),
        ingest_only=ingest_only,
    )
    follow(asked, metrics_port=metrics_port, as_json=as_json)


def labeler(
    *,
    host: Hosts = None,
    labeler_host: Labelers = None,
    begin: Begin = "",
    ingest_only: IngestOnly = False,
    metrics_port: MetricsPort = None,
    as_json: LogJson = False,
) -> None:
    """Follow the labels of labelers, until it is stopped. --host and --labeler-host are the same here."""
    labelers = hosts_of([*(host or ()), *(labeler_host or ())])
    asked = Asked(Mode.LABELER, labelers=labelers, begin=begin, ingest_only=ingest_only)
    follow(asked, metrics_port=metrics_port, as_json=as_json)


def everything(
    *,
    host: Hosts = None,
    labeler_host: Labelers = None,
    begin: Begin = "",
    did: Dids = None,
    collection: Collections = None,
    language: Languages = None,
    since_rev: SinceRev = "",
    ingest_only: IngestOnly = False,
    metrics_port: MetricsPort = None,
    as_json: LogJson = False,
) -> None:
    """Follow hosts and labelers, and fetch all repositories of the hosts as well, until it is stopped.

    What hosts list is asked for anew every `atproto.relist_seconds`. With --did only these accounts are fetched.
    """
    asked = Asked(
        Mode.ALL,
        hosts=hosts_of(host),
        labelers=hosts_of(labeler_host),
        begin=begin,
        dids=tuple(did or ()),
        collections=tuple(collection or ()),
        languages=tuple(language or ()),
        since_rev=since_rev,
        ingest_only=ingest_only,
    )
    follow(asked, metrics_port=metrics_port, as_json=as_json)


def follow(asked: Asked, *, metrics_port: int | None, as_json: bool) -> None:
    """Run the service that is asked for until it is stopped, and leave with its exit code. Raises UsageError before."""
    asked.check()
    warm_up(*IMPORTED_FOR_ATPROTO)
    settings = with_asked(load_settings(), asked, metrics_port=metrics_port)

    def work(stop: StopFlag) -> int | None:
        if as_json:
            logs.configure(settings.model_copy(update={"log_format": "json"}), role="atproto")
        return serve(settings, asked, stop)

    raise typer.Exit(run_role("atproto", work))


def serve(settings: Settings, asked: Asked, stop: StopFlag) -> int | None:
    """Run what is asked for until `stop`; then None, else the exit code of a role that can't be helped."""
    resolved = stack.resolve(settings)
    plan = plan_of(resolved, asked, follows=True)
    log.info("following", tasks=[spec.path for spec in (*plan.readers, *plan.shared)])
    ending = Service(settings, plan, Listening(), settings=resolved).run(stop)
    return ending.code if ending else None


class Listening:
    """Hears roles whose words beyond measures nobody needs: their logs have them."""

    def line(self, role: str, text: str) -> None:
        """See `Hearer`."""

    def ended(self, ended: Exit) -> None:
        """See `Hearer`."""
