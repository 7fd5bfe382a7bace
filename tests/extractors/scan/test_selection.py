"""scan/selection.py: which paths below a source are read."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.scan import selection
from extractors.scan.formats import SUFFIXES
from extractors.scan.selection import Selection, compile_pattern, system_kind

NAMES = st.text("ab.-[]*é", min_size=1, max_size=5)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.png", "b.png", True),
        ("*.png", "a/b.png", True),
        ("*.png", "a/b.PNG", False),
        ("a/*.png", "a/b.png", True),
        ("a/*.png", "x/a/b.png", False),
        ("a/*.png", "a/c/b.png", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/", "a/b/c", True),
        ("**/b.png", "b.png", True),
        ("**/b.png", "x/y/b.png", True),
        ("**/b.png", "x/ab.png", False),
        ("a/**/b.png", "a/b.png", True),
        ("a/**/b.png", "a/x/y/b.png", True),
        ("/a.png", "a.png", True),
        ("/a.png", "x/a.png", False),
        ("./a.png", "a.png", True),
        ("a?c", "abc", True),
        ("a?c/d", "a/c/d", False),
        ("[ab].png", "x/b.png", True),
        ("[!ab].png", "b.png", False),
        ("[!a]*/x", "b/x", True),
        ("[", "[", True),
        ("a{b}.(c)", "a{b}.(c)", True),
        ("a\\b", "a\\b", True),
        ("e\u0301.jpg", "\u00e9.jpg", True),
    ],
)
def test_pattern_matches_a_name_or_a_whole_path(pattern, path, matches):
    """A pattern without a slash matches the name at any depth, one with a slash the whole path."""
    assert bool(compile_pattern(pattern).match(path)) is matches


@given(pattern=NAMES.filter(lambda text: "**" not in text), path=PATHS)
def test_name_pattern_agrees_with_fnmatch_on_the_name(pattern, path):
    """Without a slash a pattern means the same as in a shell."""
    assert bool(compile_pattern(pattern).match(path)) == fnmatchcase(path.rpartition("/")[2], pattern)


@given(path=PATHS)
def test_double_star_matches_any_path(path):
    assert compile_pattern("**").match(path)
    assert compile_pattern("**/*").match(path)


@given(include=st.lists(NAMES, max_size=2), exclude=st.lists(NAMES, max_size=2), path=PATHS)
def test_exclude_takes_precedence_over_include(include, exclude, path):
    path += ".jpg"
    excluded = any(compile_pattern(excluded_pattern).match(path) for excluded_pattern in exclude)
    assert not (excluded and Selection(tuple(include), tuple(exclude)).judge_key(path)[0] is None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("._scan.jpg", "AppleDouble"),
        (".DS_Store", "system"),
        ("Thumbs.db", "system"),
        ("@eaDir", "system"),
        ("__MACOSX", "system"),
        (".@__thumb", "thumbnails"),
        (".thumbnails", "thumbnails"),
        ("#recycle", "trash"),
        ("$RECYCLE.BIN", "trash"),
        (".Trash-1000", "trash"),
        (".git", "hidden"),
        ("scan.jpg", None),
        ("#7", None),
        ("@home", None),
    ],
)
def test_system_kind_recognizes_names_that_systems_create(name, kind):
    assert system_kind(name) == kind


def test_no_system_name_ends_like_an_image():
    """So only image names with a leading dot are looked up in the lists of system names."""
    assert [
        name for name in (selection._TRASH | selection._THUMBNAILS | selection._SYSTEM) if name.endswith(SUFFIXES)
    ] == []


def test_hidden_folder_is_read_when_an_include_names_it():
    """A wildcard does not match a leading dot, and other hidden folders stay skipped."""
    selection = Selection((".scans/**", "*.jpg"))
    assert selection.judge_folder(".scans") is None
    assert selection.judge_folder(".git") == "hidden"
    assert selection.judge_key(".scans/a.jpg") == (None, ".scans/a.jpg")
    assert Selection(("**/*.jpg", "*", "?scans/*")).judge_folder(".scans") == "hidden"


@pytest.mark.parametrize("pattern", ["drafts/**", "drafts/", "**/drafts/**"])
def test_folder_excluded_with_all_its_content_is_not_walked(pattern):
    assert Selection(exclude=(pattern,)).judge_folder("drafts") == "excluded"
    assert Selection(exclude=(pattern,)).judge_folder("drafts2") is None


def test_judge_file_gives_the_reason_for_skipping_a_file():
    """The extension is judged first, then excludes, then includes."""
    selection = Selection(("a*",), ("ab*",))
    assert [selection.judge_file(path) for path in ("x/a.txt", "x/ab.jpg", "x/b.jpg", "x/a.jpg")] == [
        ".txt",
        "excluded",
        "not included",
        None,
    ]
