"""Tallystick: event-sourced ingestion on Kafka in which a stage has succeeded only where claim and observation tally.

This package is the spine that every process shares. Except for `contracts/`, which says what travels, nothing in it
knows a kind of source; the layers `producers`, `streams` and `sinks` do.
"""

__version__ = "0.1.0"
