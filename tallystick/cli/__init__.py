"""The command `tally`, a module for each group of commands."""
