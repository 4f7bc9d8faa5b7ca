"""Producer of AT Protocol events.

`protocol` is pure: bytes in, typed messages out. `live` follows streams, `backfill` fetches whole repositories; what
both need stands here: hosts by name, HTTP within bounds, identities.
"""
