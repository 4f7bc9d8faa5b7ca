"""Sinks: what turns topics into rows, and says how many there are: one loop for all."""
