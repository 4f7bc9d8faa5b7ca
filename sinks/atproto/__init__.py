"""The sinks of AT Protocol, one module a topic."""
