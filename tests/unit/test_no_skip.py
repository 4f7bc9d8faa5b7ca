"""The rule that in CI nothing is skipped in silence."""

import pytest

pytest_plugins = ["pytester"]

MARKED = "@pytest.mark.skip(reason={reason!r})\ndef test_it(): pass"
CALLED = "def test_it(): pytest.skip({reason!r})"
MODULE = "pytest.skip({reason!r}, allow_module_level=True)"
EXPECTED = "def test_it(): pytest.xfail({reason!r})"


@pytest.mark.parametrize(
    ("body", "reason", "strict", "outcome"),
    [
        pytest.param(MARKED, "no server", True, {"errors": 1}, id="a mark is an error"),
        pytest.param(CALLED, "no server", True, {"failed": 1}, id="a call is a failure"),
        pytest.param(MODULE, "no server", True, {"errors": 1}, id="a module that skips itself is an error"),
        pytest.param(
            MARKED, "optional: no sample", True, {"skipped": 1}, id="an optional reason is allowed for a mark"
        ),
        pytest.param(MODULE, "optional: no sample", True, {"skipped": 1}, id="and for a module"),
        pytest.param(EXPECTED, "known", True, {"xfailed": 1}, id="an expected failure is no skip"),
        pytest.param(CALLED, "no server", False, {"skipped": 1}, id="without the variable a skip is a skip"),
    ],
)
def test_what_becomes_of_a_skip(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    reason: str,
    strict: bool,
    outcome: dict[str, int],
) -> None:
    monkeypatch.setenv("TALLY_NO_SKIP", "1" if strict else "0")
    pytester.makepyfile("import pytest\n" + body.format(reason=reason))
    result = pytester.runpytest_inprocess("-p", "tests.plugins.no_skip")
    assert result.parseoutcomes() == outcome
    if outcome.keys() & {"failed", "errors"}:
        result.stdout.fnmatch_lines([f"*skipped where nothing may be skipped*{reason}*"])
        assert result.ret != 0
