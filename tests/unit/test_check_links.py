"""The check of the documentation's links."""

from pathlib import Path

import pytest

from tools.check_links import anchors, broken, links, main, pages

OTHER = "# The other page\n\n## Two words, `code` & more\n\n## Same\n\n## Same\n\n<a id='own'></a>\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "a folder").mkdir(parents=True)
    (tmp_path / "docs" / "other.md").write_text(OTHER)
    (tmp_path / "docs" / "a folder" / "picture(1).svg").write_text("<svg/>")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[x](other.md)", "", id="a file beside the page"),
        pytest.param("[x](../docs/other.md)", "", id="a file by way of its parent"),
        pytest.param("[x](/docs/other.md)", "", id="a path from the root"),
        pytest.param("[x](<a folder/picture(1).svg>)", "", id="blanks in angle brackets"),
        pytest.param(
            "![x](a%20folder/picture(1).svg 'title')", "", id="an image with escapes, parentheses and a title"
        ),
        pytest.param("[x](other.md#two-words-code--more)", "", id="a heading with punctuation"),
        pytest.param("[x](other.md#same-1)", "", id="the second heading of that name"),
        pytest.param("[x](other.md#own)", "", id="an anchor in HTML"),
        pytest.param("# Here\n[x](#here)", "", id="a heading of the page itself"),
        pytest.param("[x](https://example.org/absent.md#y)", "", id="other sites are not asked"),
        pytest.param("[x](mailto:a@example.org)", "", id="nor is mail"),
        pytest.param("`[x](absent.md)`", "", id="code is no link"),
        pytest.param("```\n[x](absent.md)\n```", "", id="nor is fenced code"),
        pytest.param("````\n```\n[x](absent.md)\n````", "", id="nor code with a fence inside"),
        pytest.param("```\n```\n[x](absent.md)", "page.md:3: absent.md does not exist", id="text after a fence is"),
        pytest.param("[x](absent.md)", "page.md:1: absent.md does not exist", id="no such file"),
        pytest.param("[x](other.md) [y](absent.md)", "absent.md does not exist", id="the second link of a line"),
        pytest.param("[x]\n\n[x]: absent.md", "page.md:3: absent.md does not exist", id="a reference to no file"),
        pytest.param("[x](other.md#absent)", "names no heading of docs/other.md", id="no such heading"),
        pytest.param("[x](#absent)", "names no heading of docs/page.md", id="no such heading in the page itself"),
        pytest.param("[x](other.md#same-2)", "names no heading", id="a third heading of a name that stands twice"),
        pytest.param("[x](../../outside.md)", "leads out of the repository", id="a path out of the repository"),
    ],
)
def test_a_link_is_right_or_reported(root: Path, text: str, problem: str) -> None:
    page = root / "docs" / "page.md"
    page.write_text(text)
    found = broken(root, page)
    assert [problem in message for message in found] == ([True] if problem else [])


def test_headings_in_code_are_no_anchors() -> None:
    assert anchors("# One\n```sh\n# two\n```\n### [Three](x.md)\n") == {"one", "three"}


def test_links_tell_their_line() -> None:
    assert [link.line for link in links("a\n[b](c)\n\n![d](e)")] == [2, 4]


def test_hidden_folders_and_build_products_are_left_out(root: Path) -> None:
    for name in (".venv", "build"):
        (root / name).mkdir()
        (root / name / "page.md").write_text("[x](absent.md)")
    assert pages(root) == [root / "docs" / "other.md"]


@pytest.mark.parametrize(("text", "code"), [("[x](docs/other.md)", 0), ("[x](absent.md)", 1)])
def test_the_exit_code_says_whether_all_links_are_right(root: Path, text: str, code: int) -> None:
    (root / "README.md").write_text(text)
    assert main([str(root)]) == code


def test_a_folder_without_pages_is_not_right(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
