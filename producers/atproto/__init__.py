"""Producer of AT Protocol events. So far its pure core: bytes in, typed messages, commits and verdicts out; no I/O."""
