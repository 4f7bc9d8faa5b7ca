"""Migrations by Alembic; `sinks/migrate.py` runs them. One file a step in `versions`, never changed once released."""
