"""Fixtures and plugins of all tests."""

pytest_plugins = ["tests.plugins.services", "tests.plugins.databases", "tests.plugins.no_skip"]
