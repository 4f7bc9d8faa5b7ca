"""Stages: the one place where a verdict is reached."""
