"""The protocol: bytes in, typed messages, commits and verdicts out. No I/O."""
