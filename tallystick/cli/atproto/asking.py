"""What `tally atproto …` is asked for, checked before anything is started."""

import re
from enum import StrEnum

import msgspec
import orjson
from pydantic import ValidationError

from producers.atproto.hosts import Host, host_of
from tallystick.cli.service import with_metrics_port
from tallystick.cli.terminal import safe
from tallystick.contracts.atproto import Did
from tallystick.contracts.tids import is_tid
from tallystick.errors import UsageError
from tallystick.settings import AtprotoSettings, Settings

MAX_SEQ = 2**53 - 1
_FILTERS = ("dids", "collections", "languages")
_LANGUAGE = re.compile(r"[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*")


class Mode(StrEnum):
    """What is asked for."""

    FIREHOSE = "firehose"
    LABELER = "labeler"
    BACKFILL = "backfill"
    ALL = "all"


class Asked(msgspec.Struct, frozen=True):
    """One `tally atproto …`. `hosts` have repositories, `labelers` labels; both without repetition.

    `begin` is where a stream begins that was never read, `live`, `oldest` or a number; empty for what is configured.
    `ingest_only` leaves out what reads from Kafka again.
    """

    mode: Mode
    hosts: tuple[Host, ...] = ()
    labelers: tuple[Host, ...] = ()
    begin: str = ""
    dids: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    since_rev: str = ""
    ingest_only: bool = False

    def check(self) -> None:
        """Raise UsageError, where it can't be done as it is asked."""
        if self.mode is Mode.LABELER and not self.labelers:
            raise UsageError("no labeler is named: give --host URL")
        if self.mode in {Mode.FIREHOSE, Mode.ALL} and not self.hosts:
            raise UsageError("no host is named: give --host URL, of a relay or of a personal data server")
        if self.mode is Mode.BACKFILL and not (self.hosts or self.dids):
            raise UsageError("nothing is named that could be fetched: give --host URL, or --did DID, or both")
        if self.begin not in {"", "live", "oldest"} and not _is_seq(self.begin):
            raise UsageError(f"--from takes live, oldest, or a number of an event, not {safe(self.begin[:100])}")
        if _is_seq(self.begin) and len(self.hosts) + len(self.labelers) > 1:
            raise UsageError("--from takes a number for one host only: each host counts its events by itself")
        if self.mode is Mode.BACKFILL and self.dids and len(self.hosts) > 1:
            raise UsageError("accounts are fetched from one --host, or from their own hosts where none is given")
        if self.since_rev and not is_tid(self.since_rev):
            raise UsageError(f"--since-rev takes a revision of 13 characters, not {safe(self.since_rev[:100])}")
        for did in self.dids:
            _check_did(did)
        if wrong := [language for language in self.languages if not _LANGUAGE.fullmatch(language)]:
            raise UsageError(f"--language takes a code such as de or pt-BR, not {safe(wrong[0][:100])}")

    @property
    def environment(self) -> dict[str, str]:
        """What roles get in their environment, so that what is asked for outranks their configuration."""
        given = {name: value for name in _FILTERS if (value := getattr(self, name))}
        return {f"TALLY_ATPROTO__{name.upper()}": orjson.dumps(value).decode() for name, value in given.items()}


def hosts_of(urls: list[str] | None) -> tuple[Host, ...]:
    """Return the hosts that are meant, each once. Raises UsageError."""
    found = [host_of(url) for url in urls or ()]
    return tuple({host.name: host for host in found}.values())


def with_asked(settings: Settings, asked: Asked, *, metrics_port: int | None) -> Settings:
    """Return `settings` with what was asked for. Raises UsageError for what they can't take."""
    given = {name: value for name in _FILTERS if (value := getattr(asked, name))}
    try:
        atproto = AtprotoSettings.model_validate({**settings.atproto.model_dump(), **given})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise UsageError(f"what is asked for can't be had: {wrong}") from None
    return with_metrics_port(settings.model_copy(update={"atproto": atproto}), metrics_port)


def _is_seq(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SEQ)) and 1 <= int(text) <= MAX_SEQ


def _check_did(did: str) -> None:
    try:
        msgspec.convert(did, Did)
    except msgspec.ValidationError as error:
        raise UsageError(f"no DID: {safe(did[:100])}; one looks as did:plc:ewvi7nxzyoun6zhxrhs64oiz does") from error
