"""Fixtures and plugins of all tests."""

from tests import sample

pytest_plugins = ["tests.plugins.services", "tests.plugins.databases", "tests.plugins.no_skip"]


def pytest_report_header() -> str:
    """Say which log tests mean by the sample."""
    return f"sample of Cowrie: {sample.ORIGIN}"
