"""A real Kafka and a real PostgreSQL on one machine, from packages: no Docker, no root. See `stack`."""
