"""Measures: what a role tells its supervisor of itself, for `/metrics`."""

from typing import Literal

import msgspec


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number. `name` is as Prometheus wants it: a counter ends in `_total`, units are seconds and bytes.

    A counter counts from the start of its process.
    """

    name: str
    value: float
    labels: dict[str, str] = {}
    kind: Literal["counter", "gauge"] = "counter"
