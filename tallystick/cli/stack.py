"""`tally up`, `down`, `status`, `doctor`: the local stack, and the tasks of this machine."""

import sys
from typing import Annotated

import msgspec
import typer

from tallystick.cli.tasks import as_it_is, standing_as_dict, tasks_table
from tallystick.cli.terminal import console, print_json
from tallystick.local import doctor as examination
from tallystick.local import reach, stack
from tallystick.settings import load_settings
from tallystick.supervision.exit_files import ExitFiles

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
MIB = 1024**2


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (up, down, status, doctor):
        app.command()(command)


def up() -> None:
    """Start Kafka and PostgreSQL on this machine, or join them if they run. What is configured is used instead."""
    settings = load_settings()
    found = stack.up(settings)
    configured = {"kafka": settings.kafka.bootstrap_servers, "database": settings.database.url}
    addresses = {"kafka": found.bootstrap_servers, "database": reach.without_password(found.database_url)}
    for name, address in addresses.items():
        how = "configured" if configured[name] else "started" if name in found.started else "already up"
        typer.echo(f"{name:<9} {how:<11} {address}")


def down() -> None:
    """Stop the local Kafka and PostgreSQL cleanly. Their data stays."""
    stopped = stack.down(load_settings())
    for name in stopped:
        typer.echo(f"{name:<9} stopped")
    if not stopped:
        typer.echo("nothing was running")


def status(*, as_json: Json = False) -> None:
    """Say which servers run, where they are reached, and where data and logs are; and how each task ended last."""
    settings = load_settings()
    found = stack.status(settings)
    standings = [as_it_is(standing) for standing in ExitFiles.of(settings).read()]
    if as_json:
        print_json(
            {"servers": msgspec.to_builtins(found), "tasks": [standing_as_dict(standing) for standing in standings]}
        )
        return
    for service in found:
        typer.echo(f"{service.name:<9} {service.state:<11} {service.address or '(never started)'}")
        details = {
            "origin": service.origin,
            "pid": service.pid,
            "memory": f"{service.memory_bytes // MIB} MiB" if service.memory_bytes else None,
            "folder": service.folder,
            "log": service.log,
        }
        for name, value in details.items():
            if value is not None:
                typer.echo(f"  {name:<8}{value}")
    if standings:
        typer.echo()
        console().print(tasks_table(standings))


def doctor(*, as_json: Json = False) -> None:
    """Check what Tallystick needs here, and say how to get what is missing. Exit code 1 if something is."""
    findings = examination.examine(load_settings())
    if as_json:
        _print_json(findings)
    else:
        for finding in findings:
            typer.echo(f"{'OK' if finding.ok else 'MISSING':<8} {finding.name:<20} {finding.found}".rstrip())
            if not finding.ok:
                typer.echo(f"{'':<8} {finding.remedy}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _print_json(found: list[examination.Finding]) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
