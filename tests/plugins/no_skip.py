"""With `TALLY_NO_SKIP=1` a test that is skipped has failed, unless the reason begins with "optional:".

Load it with `pytest_plugins = ["tests.plugins.no_skip"]`.
"""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

ALLOWED = "optional:"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the report of one test."""
    return _judged((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the report of a module, which may skip itself as a whole."""
    return _judged((yield))


def _judged(report: Report) -> Report:
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("TALLY_NO_SKIP") != "1":
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (TALLY_NO_SKIP=1): {reason}"
    return report
