"""Check that the relative links of all Markdown files lead to files and headings that exist.

Usage: python tools/check_links.py [FOLDER]. Prints what is broken and exits with 1, else prints how much was checked.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

SKIPPED = {"build", "dist", "node_modules"}

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_INLINE = re.compile(r"\]\(\s*(?:<([^>]*)>|([^\s()]*(?:\([^\s()]*\)[^\s()]*)*))(?:\s+[\"'(][^)]*)?\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)>?")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_ANCHOR = re.compile(r"<a\s[^>]*(?:id|name)=[\"']([^\"']+)[\"']", re.IGNORECASE)
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


class Link(NamedTuple):
    """A link's target, as it is written, and its line number."""

    line: int
    target: str


def text_lines(markdown: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of all lines outside of fenced code."""
    fence = ""
    for number, line in enumerate(markdown.splitlines(), 1):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark:
            fence = mark[1]
        else:
            yield number, line


def links(markdown: str) -> list[Link]:
    """Return all links and images of a page: inline ones and reference definitions, but none in code."""
    found = []
    for number, line in text_lines(markdown):
        bare = _CODE.sub("", line)
        found += [Link(number, match[1] or match[2]) for match in _INLINE.finditer(bare)]
        if match := _REFERENCE.match(bare):
            found.append(Link(number, match[1]))
    return found


def anchors(markdown: str) -> set[str]:
    """Return what a link to the page may name after `#`: its headings' slugs as GitHub makes them, and its `<a id>`."""
    found: set[str] = set()
    for _, line in text_lines(markdown):
        found.update(_ANCHOR.findall(line))
        if heading := _HEADING.match(line):
            slug = re.sub(r"[^\w\- ]", "", _LINK_TEXT.sub(r"\1", heading[1]).lower()).replace(" ", "-")
            unique, again = slug, 0
            while unique in found:
                again += 1
                unique = f"{slug}-{again}"
            found.add(unique)
    return found


def broken(root: Path, page: Path) -> list[str]:
    """Return a message for each link of `page` that leads nowhere, or out of `root`."""
    problems = []
    for line, target in links(page.read_text("utf-8")):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(parts.path)
        file = (root / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve() if path else page
        where = f"{page.relative_to(root)}:{line}: {target}"
        if not file.is_relative_to(root):
            problems.append(f"{where} leads out of the repository")
        elif not file.exists():
            problems.append(f"{where} does not exist")
        elif (
            parts.fragment and file.suffix == ".md" and unquote(parts.fragment) not in anchors(file.read_text("utf-8"))
        ):
            problems.append(f"{where} names no heading of {file.relative_to(root)}")
    return problems


def pages(root: Path) -> list[Path]:
    """Return the Markdown files below `root`, without hidden folders and build products."""
    found = [path for path in root.rglob("*.md") if path.is_file()]
    return sorted(p for p in found if not any(x.startswith(".") or x in SKIPPED for x in p.relative_to(root).parts))


def main(arguments: list[str]) -> int:
    """Check the folder that is named, else the working directory. Returns the exit code."""
    root = Path(arguments[0] if arguments else ".").resolve()
    checked = pages(root)
    problems = [problem for page in checked for problem in broken(root, page)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not checked:
        print(f"no Markdown files in {root}", file=sys.stderr)
    elif not problems:
        print(f"links of {len(checked)} Markdown files are right")
    return 1 if problems or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
