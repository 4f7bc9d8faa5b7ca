"""Write the pages of `docs/reference/` that code defines: the command line, the settings, the tables.

Usage: python tools/reference_docs.py. A unit test compares the pages with what this writes.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import sqlalchemy as sa
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sqlalchemy.dialects import postgresql, sqlite
from typer.core import TyperGroup

from sinks import schema
from tallystick import settings
from tallystick.cli.main import make_app
from tallystick.contracts import risk

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

_WRITTEN = "Written by `tools/reference_docs.py` from {origin}; a test keeps this page equal to it. Change that."

_TABLES = {
    "raw_events": "Every event, as it was read: one row for each distinct event.",
    "dead_letter_events": "What could not be taken as an event, one row for each piece of 8 MiB. `resolved` is set by"
    " a retry, in the transaction of the event, or by hand: `tally dlq`.",
    "dead_letter_retries": "Which dead letters have come again as events. Written in the transaction of the event,"
    " which may come before its letter.",
    "session_summaries": "One row a session: the newest state of `cowrie.sessions`. The columns from `vt_flagged` to"
    " `enrichment_at` are for enrichment, and no sink writes them but `risk_score` ([rules](risk-score.md)).",
    "command_stats": "The distinct commands of each session.",
    "login_attempts": "The distinct credentials of each session, with their outcome.",
    "files": "The distinct files of each session. The columns from `vt_classification` on are for enrichment.",
    "session_inventory": "What each session tells of addresses, clients and their algorithms; the share that the totals"
    " `ip_inventory`, `client_versions` and `hassh_inventory` are counted from.",
    "password_session_usage": "The distinct passwords of each session. `password_tracking` is counted from it, and the"
    " view `password_statistics`: by `date`, `total_attempts`, `unique_passwords`, `breached_count`, `novel_count`"
    " (those not known to be breached) and `max_prevalence`.",
    "session_ssh_keys": "The distinct SSH keys that commands of each session would inject; `ssh_key_intelligence` is"
    " counted from it.",
    "session_ssh_key_pairs": "The pairs of keys that each session would inject, of up to 16 keys;"
    " `ssh_key_associations` is counted from it.",
    "session_tunnels": "The distinct targets of each session's tunnels; `tunnel_targets` is counted from it.",
    "ip_inventory": "One row an address that sessions came from. The columns from `current_asn` to `asn_last_verified`"
    " and from `is_scanner` to `enrichment_version` are for enrichment, and no sink writes them.",
    "client_versions": "One row a version that clients say they are.",
    "hassh_inventory": "One row a fingerprint of a client's algorithms.",
    "password_tracking": "One row a password. The columns from `breached` to `last_hibp_check` are for enrichment.",
    "ssh_key_intelligence": "One row an SSH key that commands would inject.",
    "ssh_key_associations": "One row a pair of keys that a session would inject together.",
    "tunnel_targets": "One row a target of tunnels.",
    "session_sources": "Which source holds events of which session.",
    "sources": "One row a source, with the counts of its newest claim.",
    "source_stages": "One row for each stage of a source, with the verdict in this database.",
    "media": "One row a medium, as it was identified last. What follows it is in `sources` and `source_stages`.",
    "media_inodes": "The inodes of each medium; `part` keeps the file systems of one disk apart.",
    "media_paths": "The paths of each medium, as bytes.",
    "media_problems": "What an enumeration could not read.",
    "media_copies": "What became of the content of each file: the blob that holds it, or why there is none.",
    "media_blobs": "The contents that were put into the store. A row is no proof that the file is still there:"
    " `tally media audit`.",
    "media_runs": "Every process that worked on a stage of a medium, with its exit code and what it had to show.",
    "media_leases": "Who works on a medium now. No projection of the log.",
    "atproto_records": "The records of repositories, one row for each that was ever heard of; of one that is gone a"
    " row stays, `deleted`. The view `atproto_live_records` has those that are there, of accounts that the newest word"
    " of a host does not call inactive.",
    "atproto_repos": "One row a repository: the newest commit, the newest snapshot of the whole, and how it stands.",
    "atproto_snapshots": "The newest snapshot of each repository, whole or not, as its last line told of it.",
    "atproto_fetched_parts": "Of which collections of a repository a snapshot had all records, and of which revision"
    " the newest was: what is older counts no more.",
    "atproto_accounts": "What each host says about each account.",
    "atproto_identities": "The newest word on who an account is.",
    "atproto_labels": "Of each label, by who labels what, the newest word. The view `atproto_current_labels` has those"
    " that are neither retracted nor past their time.",
    "atproto_label_history": "Every label and every retraction, as it was signed.",
    "atproto_notices": "What happened to the streams of hosts.",
    "sink_offsets": "Where each sink goes on in each partition. Written in the transaction of the rows.",
    "sink_counters": "What each sink has counted of each source in each partition. Written in the same transaction.",
    "tallystick_meta": "One row: who this database is.",
}
"""What each table is for, in the order of the page."""

_FACTORIES: dict[Any, str] = {
    settings.default_home: "the user's data folder (on Linux `~/.local/share/tallystick`); for root"
    " `/var/lib/tallystick`"
}
_RULES = {"gt": "above {}", "ge": "from {}", "le": "up to {}", "pattern": "matches `{}`"}


def command_line() -> str:
    """Return the page of all commands of `tally`."""
    root = typer.main.get_command(make_app([]))
    assert isinstance(root, TyperGroup)  # noqa: S101 - an application with several commands is one
    blocks = ["# Command line", _WRITTEN.format(origin="the commands themselves"), root.help or ""]
    blocks.append(
        "`tally --version` prints the version. Every command takes `--help`. What the exit codes mean:"
        " [exit codes](exit-codes.md)."
    )
    return _page([*blocks, *_commands(root, "tally")])


def _commands(group: TyperGroup, name: str) -> Iterator[str]:
    for word, command in group.commands.items():
        full = f"{name} {word}"
        if isinstance(command, TyperGroup):
            yield from _commands(command, full)
            continue
        context = command.context_class(command, info_name=full)
        yield f"## `{full}`"
        yield f"```\n{' '.join([full, *command.collect_usage_pieces(context)])}\n```"
        yield inspect.cleandoc(command.help or "")
        records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
        rows = [(f"`{found[0]}`".replace("|", r"\|"), re.sub(r" {2,}", " ", found[1])) for found in records if found]
        if rows := [row for row in rows if row[0] != "`--help`"]:
            yield _table(("argument or option", "what it does"), rows)


def all_settings() -> str:
    """Return the page of all settings."""
    blocks = [
        "# Settings",
        _WRITTEN.format(origin="`tallystick/settings.py`"),
        inspect.cleandoc(settings.__doc__ or ""),
    ]
    blocks.append(
        "A setting that is an object, such as `kafka.client`, takes JSON in the environment:"
        ' `TALLY_KAFKA__CLIENT=\'{"security.protocol": "SSL"}\'`. A name that is not on this page is an error.'
    )
    sections = {
        name: field.annotation
        for name, field in settings.Settings.model_fields.items()
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel)
    }
    blocks += ["## At the top level", _settings_table(settings.Settings, skip=sections)]
    for name, model in sections.items():
        blocks += [f"## `[{name}]`", inspect.cleandoc(model.__doc__ or ""), _settings_table(model, f"{name}.")]
    for name, model in repeated_tables().items():
        blocks += [f"## `[[{name}]]`", inspect.cleandoc(model.__doc__ or ""), _repeated_table(model)]
    blocks += ["## From the environment only", _ENVIRONMENT]
    return _page(blocks)


_ENVIRONMENT = """\
| name | what it does |
| --- | --- |
| `TALLY_CONFIG` | the path of the configuration file |
| `TALLY_JAVA` | the `java` to run the local Kafka with; version 17 or newer |
| `TALLY_KAFKA_HEAP` | the heap of the local Kafka, as Java's `-Xmx` takes it; 512m |
| `TALLY_PG_BIN` | the folder of the `initdb` and `postgres` to use for the local database |
| `TALLY_PG_USER` | the account that runs the local database for root; `postgres`, else `nobody` |"""


def repeated_tables() -> dict[str, type[BaseModel]]:
    """Return the models of settings that are written as several tables, `[[name]]`, by name."""
    found = {}
    for name, field in settings.Settings.model_fields.items():
        for inner in get_args(field.annotation):
            if inspect.isclass(inner) and issubclass(inner, BaseModel):
                found[name] = inner
    return found


def _repeated_table(model: type[BaseModel]) -> str:
    texts = _field_docs(model)
    rows = [
        (f"`{name}`", "required" if field.is_required() else _default(field), texts.get(name, ""))
        for name, field in model.model_fields.items()
    ]
    return _table(("name", "default", "what it is"), rows)


def _settings_table(model: type[BaseModel], prefix: str = "", skip: Iterable[str] = ()) -> str:
    texts = _field_docs(model)
    rows = [
        (
            f"`{prefix}{name}`",
            f"`TALLY_{(prefix + name).replace('.', '__').upper()}`",
            _default(field),
            " ".join([texts.get(name, ""), *_bounds(field)]).strip(),
        )
        for name, field in model.model_fields.items()
        if name not in set(skip)
    ]
    return _table(("name", "environment", "default", "what it is"), rows)


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings that stand below the fields of `model`, by name."""
    [found] = ast.parse(inspect.getsource(model)).body
    assert isinstance(found, ast.ClassDef)  # noqa: S101 - it is the source of a class
    texts = {}
    for field, after in zip(found.body, found.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            texts[field.target.id] = " ".join(str(ast.literal_eval(after.value)).split())
    return texts


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return _FACTORIES[field.default_factory]
    return "none" if field.default in (None, "", {}, ()) else f"`{field.default}`"


def _bounds(field: FieldInfo) -> Iterator[str]:
    for rule in field.metadata:
        for name, words in _RULES.items():
            if (bound := getattr(rule, name, None)) is not None:
                yield f"({words.format(str(bound).replace('|', chr(92) + '|'))})"


def tables() -> str:
    """Return the page of all tables."""
    if unknown := set(schema.metadata.tables) ^ set(_TABLES):
        raise LookupError(f"_TABLES and sinks/schema/ differ in {', '.join(sorted(unknown))}: correct _TABLES")
    preface = (
        "Types are PostgreSQL's; where SQLite's differs it stands after the slash. On SQLite a time is text in the form"
        " `YYYY-MM-DDTHH:MM:SS.ffffffZ`, which sorts as time does, and a boolean is 0 or 1. Alembic's version table is"
        " `tallystick_version`. `tally db check` compares a database with this page's origin."
    )
    blocks = ["# Database tables", _WRITTEN.format(origin="`sinks/schema/`"), preface]
    for name, purpose in _TABLES.items():
        table = schema.metadata.tables[name]
        blocks += [f"## `{name}`", purpose, _table(("column", "type", "null", "what it holds"), map(_column, table.c))]
        if keys := list(_keys(table)):
            blocks.append("\n".join(keys))
    return _page(blocks)


def risk_score() -> str:
    """Return the page of all rules of the risk score."""
    any_command = risk.ANY_COMMAND
    kinds = [
        (f"`{rule.eventid}`", str(rule.points), rule.meaning)
        for rule in sorted(risk.KIND_RULES, key=lambda rule: (-rule.points, rule.eventid))
    ]
    commands = [(rule.meaning, str(rule.points), f"`{_cell(rule.pattern)}`") for rule in risk.COMMAND_RULES]
    blocks = [
        "# Risk score",
        _WRITTEN.format(origin="`tallystick/contracts/risk.py`"),
        f"Version {risk.VERSION} of the rules.",
        inspect.cleandoc(risk.__doc__ or "").partition("\n\n")[2],
        "## By the kind of an event",
        _table(("eventid", "points", "what it means"), kinds),
        f"Every other kind whose name holds `{any_command.eventid}` is worth {any_command.points}, all others nothing.",
        "## By the text of a command",
        "The text has every run of whitespace as one space. Only its first"
        f" {risk.MAX_ASSESSED_CHARS:,} characters count. A command that any of these rules finds is `high_risk` in"
        " `command_stats`.",
        _table(("what it does", "points", "pattern"), commands),
    ]
    return _page(blocks)


def _cell(pattern: str) -> str:
    return pattern.replace("`", "\\x60").replace("|", r"\|")


def _column(column: "sa.Column[Any]") -> tuple[str, ...]:
    types = dict.fromkeys(str(column.type.compile(make())) for make in (postgresql.dialect, sqlite.dialect))
    return f"`{column.name}`", " / ".join(types), "yes" if column.nullable else "", column.comment or ""


def _keys(table: sa.Table) -> Iterator[str]:
    yield f"- primary key: {_names(table.primary_key.columns)}"
    for constraint in sorted(table.constraints, key=lambda found: str(found.name)):
        if isinstance(constraint, sa.UniqueConstraint):
            yield f"- unique: {_names(constraint.columns)}"
    for index in sorted(table.indexes, key=lambda found: str(found.name)):
        kind = index.dialect_options["postgresql"]["using"]
        yield f"- index: {_names(index.columns)}" + (f" ({kind} on PostgreSQL)" if kind else "")


def _names(columns: "Iterable[sa.ColumnElement[Any]]") -> str:
    return ", ".join(f"`{column.key}`" for column in columns)


def _page(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [names, ("---",) * len(names), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in cells)


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "settings.md": all_settings,
    "tables.md": tables,
    "risk-score.md": risk_score,
}


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make())


if __name__ == "__main__":
    main()
