"""Another program's database as a source: the events that cowrieprocessor has stored, replayed into the log."""
