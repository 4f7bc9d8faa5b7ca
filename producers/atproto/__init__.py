"""Producer of AT Protocol events: `protocol` is pure, bytes in and typed messages out; the rest reads hosts."""
