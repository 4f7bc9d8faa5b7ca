"""A log of Cowrie 3.1.4 as it wrote it, where that is at hand; else as many lines of our generator stand in for it."""

import gzip
import json
from pathlib import Path

from producers.cowrie.generator import Plan, lines

GENUINE = Path(__file__).parents[2] / "shared" / "samples" / "cowrie" / "cowrie-3.1.4.json.gz"
EVENTS = 3_552


def _lines() -> list[bytes]:
    if GENUINE.exists():
        return gzip.decompress(GENUINE.read_bytes()).splitlines()
    return [line.rstrip(b"\n") for line in lines(Plan(events=EVENTS, seed=314))]


LINES = _lines()
"""Without their ends."""
SESSIONS = len({(event["sensor"], event["session"]) for event in map(json.loads, LINES)})
ORIGIN = "the genuine one" if GENUINE.exists() else f"generated, as {GENUINE.name} is not at hand"
