"""Streams of hosts, followed as they happen: `subscribeRepos` and `subscribeLabels` over WebSockets."""
