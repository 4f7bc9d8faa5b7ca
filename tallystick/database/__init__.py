"""The database, whatever tables it holds: engines, transactions, and which errors pass."""
