"""`tally topics …`: the catalogue, as a table, on the broker, and as documentation."""

from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from tallystick import __version__
from tallystick.cli.terminal import console, print_json
from tallystick.contracts.asyncapi import asyncapi
from tallystick.contracts.catalogue import TOPICS, VALUES
from tallystick.contracts.reference import markdown
from tallystick.kafka import topics as broker
from tallystick.local import stack
from tallystick.settings import KafkaSettings, load_settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class Format(StrEnum):
    """The forms of the documentation."""

    MARKDOWN = "markdown"
    ASYNCAPI = "asyncapi"


def register(app: typer.Typer) -> None:
    """Add `topics` to the command line."""
    commands = typer.Typer(no_args_is_help=True, help="The topic catalogue: show, create, check, document it.")
    commands.command("list")(show)
    for command in (create, check, docs):
        commands.command()(command)
    app.add_typer(commands, name="topics")


def show(*, as_json: Json = False) -> None:
    """Show every topic as the settings make it. Asks no broker."""
    kafka = load_settings().kafka
    rows = [
        {
            "name": kafka.topic(topic),
            "key": topic.key,
            "value": topic.value,
            "owner": topic.owner,
            "partitions": topic.partitions(kafka.partitions),
            "cleanup": topic.cleanup,
            "retention_ms": int(topic.config(kafka.retention_ms)["retention.ms"]),
            "summary": topic.summary,
        }
        for topic in TOPICS
    ]
    if as_json:
        print_json(rows)
        return
    _print_table([{name: value for name, value in row.items() if name != "summary"} for row in rows])


def create() -> None:
    """Create the topics that the broker lacks. Safe to repeat."""
    created = broker.create(stack.resolve(load_settings()), TOPICS)
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo(f"all {len(TOPICS)} topics are there already")


def check(*, as_json: Json = False) -> None:
    """Compare the broker's topics with the catalogue. Exit code 1 if something differs."""
    deviations = broker.check(stack.resolve(load_settings()), TOPICS)
    if as_json:
        print_json(msgspec.to_builtins(deviations))
    elif deviations:
        _print_table([msgspec.to_builtins(deviation) for deviation in deviations])
    else:
        typer.echo(f"all {len(TOPICS)} topics are as the catalogue says")
    if deviations:
        raise typer.Exit(1)


def docs(
    *, form: Annotated[Format, typer.Option("--format", help="For people, or for programs.")] = Format.MARKDOWN
) -> None:
    """Print the reference of all topics and of what they carry, with the settings as they are by default."""
    if form is Format.MARKDOWN:
        typer.echo(markdown(TOPICS, VALUES), nl=False)
        return
    kafka = KafkaSettings()
    print_json(
        asyncapi(TOPICS, VALUES, release=__version__, partitions=kafka.partitions, retention_ms=kafka.retention_ms)
    )


def _print_table(rows: list[dict[str, object]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console().print(table)
