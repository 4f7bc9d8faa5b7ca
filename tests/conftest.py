"""Fixtures and plugins of all tests."""

pytest_plugins = ["tests.plugins.services", "tests.plugins.no_skip"]
