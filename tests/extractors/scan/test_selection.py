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
def test_pattern_matches(pattern, path, matches):
    """Without a slash the name at any depth, with one the whole path."""
    assert bool(compile_pattern(pattern).match(path)) is matches


@given(pattern=NAMES.filter(lambda text: "**" not in text), path=PATHS)
def test_name_pattern_agrees_with_fnmatch_on_the_name(pattern, path):
    """Without a slash a pattern means what it means in a shell, on the last part of the path."""
    assert bool(compile_pattern(pattern).match(path)) == fnmatchcase(path.rpartition("/")[2], pattern)


@given(path=PATHS)
def test_double_star_matches_everything(path):
    """It crosses folders."""
    assert compile_pattern("**").match(path)
    assert compile_pattern("**/*").match(path)


@given(include=st.lists(NAMES, max_size=2), exclude=st.lists(NAMES, max_size=2), path=PATHS)
def test_exclude_wins(include, exclude, path):
    """No path that an exclude matches is read, whatever the includes are."""
    path += ".jpg"
    excluded = any(compile_pattern(each).match(path) for each in exclude)
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
def test_system_kind(name, kind):
    """Folders and files that systems make are told from those of people."""
    assert system_kind(name) == kind


def test_no_name_of_a_system_file_ends_like_an_image():
    """So that the name of an image is looked up in no list of them, unless it starts with a dot."""
    assert [
        name for name in (selection._TRASH | selection._THUMBNAILS | selection._SYSTEM) if name.endswith(SUFFIXES)
    ] == []


def test_hidden_folder_is_read_when_an_include_names_it():
    """A wildcard never stands for a leading dot, and other hidden folders stay passed over."""
    lifted = Selection((".scans/**", "*.jpg"))
    assert lifted.judge_folder(".scans") is None
    assert lifted.judge_folder(".git") == "hidden"
    assert lifted.judge_key(".scans/a.jpg") == (None, ".scans/a.jpg")
    assert Selection(("**/*.jpg", "*", "?scans/*")).judge_folder(".scans") == "hidden"


@pytest.mark.parametrize("pattern", ["drafts/**", "drafts/", "**/drafts/**"])
def test_excluded_folder_is_not_listed(pattern):
    """A folder that is excluded with everything in it costs no walk."""
    assert Selection(exclude=(pattern,)).judge_folder("drafts") == "excluded"
    assert Selection(exclude=(pattern,)).judge_folder("drafts2") is None


def test_kinds_of_files_that_are_not_read():
    """Other formats by extension, then excludes, then what no include matches."""
    selection = Selection(("a*",), ("ab*",))
    assert [selection.judge_file(path) for path in ("x/a.txt", "x/ab.jpg", "x/b.jpg", "x/a.jpg")] == [
        ".txt",
        "excluded",
        "not included",
        None,
    ]
