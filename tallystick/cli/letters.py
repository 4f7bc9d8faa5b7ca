"""Dead letters as a terminal and as programs get them. What attackers wrote comes out as visible escapes."""

import base64
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.table import Table

from sinks.letters import Letter
from tallystick.cli.terminal import safe

_ROW_BYTES = 16
_BEGINS = 48


def escaped(content: bytes) -> str:
    r"""Return `content` as text on one line: what is no UTF-8, or not printable, as a visible escape such as `\xff`."""
    return safe(content.decode("utf-8", "backslashreplace"))


def hex_dump(content: bytes) -> Iterator[str]:
    """Yield lines of `content`: offset, 16 bytes in hex, and the same in ASCII, with a dot for what isn't."""
    for start in range(0, len(content), _ROW_BYTES):
        row = content[start : start + _ROW_BYTES]
        half = _ROW_BYTES // 2
        numbers = f"{row[:half].hex(' '):<{3 * half - 1}}  {row[half:].hex(' '):<{3 * half - 1}}"
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{start:08x}  {numbers}  |{text}|"


def letters_table(letters: Sequence[Letter]) -> Table:
    """Return `letters` as a table, a row each."""
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("written")
    table.add_column("source", overflow="fold")
    table.add_column("position", justify="right")
    for name in ("origin", "reason"):
        table.add_column(name)
    table.add_column("bytes", justify="right")
    table.add_column("begins", overflow="fold")
    for letter in letters:
        table.add_row(
            str(letter.id),
            f"{safe(letter.at[:19])}Z",
            safe(source_name(letter)),
            f"{letter.position:,}",
            safe(letter.origin),
            safe(letter.reason) + (" (resolved)" if letter.resolved else ""),
            f"{letter.size:,}",
            escaped(letter.begins[:_BEGINS]) + ("…" if letter.size > _BEGINS else ""),
        )
    return table


def summary(counts: Mapping[tuple[str, str], int]) -> str:
    """Return how many letters there are, and for which reasons, in one line."""
    total = sum(counts.values())
    by_reason: dict[str, int] = {}
    for (_, reason), number in counts.items():
        by_reason[reason] = by_reason.get(reason, 0) + number
    named = ", ".join(f"{number:,} {safe(reason)}" for reason, number in by_reason.items())
    return f"{letters_in_words(total)}{': ' + named if named else ''}"


def letters_in_words(number: int) -> str:
    """Return a number of letters in words."""
    return "1 letter" if number == 1 else f"{number:,} letters"


def source_name(letter: Letter) -> str:
    """Return what a letter's source is called."""
    return letter.name or letter.source or "unknown"


def description(letter: Letter) -> Iterator[tuple[str, str]]:
    """Yield name and value of everything that is known of a letter, but for its content."""
    yield "letter", str(letter.id)
    yield "source", source_name(letter) + (f" ({letter.source})" if letter.name else "")
    yield "position", f"{letter.position:,}"
    yield "origin", letter.origin
    yield "reason", letter.reason + (f": {letter.detail}" if letter.detail else "")
    yield "written", letter.at
    yield "length", f"{letter.size:,} bytes" + (f" in {letter.pieces} pieces" if letter.pieces > 1 else "")
    if letter.topic:
        yield "record", f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"
    if letter.key:
        yield "record's key", letter.key
    if letter.sensor:
        yield "sensor", f"{letter.sensor}, where the event names none"
    if letter.resolved:
        yield "resolved", f"{letter.resolved_at} by {letter.resolved_by or 'somebody'}"
    if letter.note:
        yield "note", letter.note


def as_dict(letter: Letter) -> dict[str, object]:
    """Return a letter as JSON shows it in a list; `begins` is text with visible escapes."""
    return {**msgspec.to_builtins(letter), "begins": escaped(letter.begins)}


def as_export(letter: Letter, content: bytes) -> dict[str, object]:
    """Return a letter with all its content, in base64, as `tally dlq export` writes it."""
    fields = msgspec.to_builtins(letter)
    del fields["begins"]
    return {**fields, "payload": base64.b64encode(content).decode("ascii")}
