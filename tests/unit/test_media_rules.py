"""Rules of exclusion: expressions over bytes, with ids."""

from pathlib import Path

import pytest

from producers.media.errors import MalformedError, MediaError, PreconditionError
from producers.media.rules import Rule, Rules, load_rules
from tallystick.contracts.media import ExitCode

NTT = b"""# caches
#: caches
/\\.cache/
/(node_modules|__pycache__)/

#: dumps
core\\.[0-9]+$
\\.(iso|vmdk)$
"""


def load(text: bytes, folder: Path) -> Rules:
    path = folder / "patterns.txt"
    path.write_bytes(text)
    return load_rules(path)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        pytest.param(b".cache/x", "caches", id="a folder at the root is matched with its slash"),
        pytest.param(b"home/.cache/x/y", "caches", id="a folder further below"),
        pytest.param(b".cache", "", id="the folder itself is not in itself"),
        pytest.param(b"a/node_modules/b", "line4", id="without a name the id is the line"),
        pytest.param(b"core.1234", "dumps", id="a name"),
        pytest.param(b"core.1234/x", "", id="the end of the path is its end"),
        pytest.param(b"a\n.iso", "line8", id="a line end in a name"),
        pytest.param(b"\xff\xfe.vmdk", "line8", id="bytes that are no UTF-8"),
        pytest.param(b"hash#x", "", id="no hidden rule against #"),
        pytest.param(b"node_modules/.cache/x", "caches", id="the first rule in the file names it"),
    ],
)
def test_the_first_rule_that_matches_names_the_path(path: bytes, rule: str, tmp_path: Path) -> None:
    assert load(NTT, tmp_path).match(path) == rule


def test_without_rules_nothing_is_excluded() -> None:
    assert Rules().match(b"anything") == ""


def test_rules_with_references_and_flags_are_not_confused_by_others(tmp_path: Path) -> None:
    rules = load(b"(x)(y)\n(a|b)\\1\n(?i)readme\n(?P<q>z)(?P=q)\n", tmp_path)
    assert [rules.match(path) for path in (b"aa", b"ab", b"README", b"zz", b"XY", b"xy")] == [
        "line2",
        "",
        "line3",
        "line4",
        "",
        "line1",
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param(b"", "holds no rule", id="an empty file"),
        pytest.param(b"# nothing\n\n", "holds no rule", id="comments only"),
        pytest.param(b"ok\n(\n", "rule line2", id="an expression that is none"),
        pytest.param(b"[[:alpha:]]+\n", r"\[:alpha:\]", id="a class of POSIX"),
        pytest.param(b"#: a b\nx\n", "'a b' can't be an id", id="an id with a blank"),
        pytest.param(b"#: a\nx\n#: a\ny\n", "same id", id="two rules with one id"),
    ],
)
def test_53_rules_that_can_not_be_meant_are_refused(text: bytes, word: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match=word) as raised:
        load(text, tmp_path)
    assert "patterns.txt" in str(raised.value)
    assert (raised.value.reason, raised.value.exit_code) == ("bad_rules", ExitCode.MALFORMED)


def test_53_a_file_that_is_missing_does_not_mean_no_rules(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"media\.patterns") as raised:
        load_rules(tmp_path / "nothing")
    assert isinstance(raised.value, MediaError)
    assert raised.value.exit_code == ExitCode.PRECONDITION


def test_the_digest_is_that_of_the_rules_not_of_comments(tmp_path: Path) -> None:
    first = load(b"# a\n#: x\na\n", tmp_path).digest
    assert load(b"#: x\n# b\n\na\n", tmp_path).digest == first == Rules([Rule("x", b"a")]).digest
    assert len({first, load(b"#: y\na\n", tmp_path).digest, load(b"#: x\nb\n", tmp_path).digest, Rules().digest}) == 4
