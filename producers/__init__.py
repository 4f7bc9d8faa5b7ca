"""Producers: they observe the world and emit slices, dead letters and claims."""
