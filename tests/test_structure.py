"""Measures of the tree and the code that keep them readable."""

import ast
import functools
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("extractors", "flows", "schemas")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_ENTRIES = 13
MOST_LINES_OF_A_FILE = 350
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_NINE_IN_TEN = 15
MOST_FIELDS = 10
MOST_VAGUE_WORDS = 9
CONTEXTS = re.compile(r"(Context|Session|Scheduler|Coordinator|Journal|Worker)$")  # classes that carry others around
VAGUE = re.compile(
    r"(?<![^\W_])(nobody|whoever|somebody|whatever)(?![^\W_])", re.IGNORECASE
)  # alone or as a part of a name


@functools.cache
def definitions():
    """Every class and function of the source, with its file."""
    return [
        (path.relative_to(ROOT).as_posix(), node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]


def functions():
    """Every function of the source, with its file."""
    return [(path, node) for path, node in definitions() if not isinstance(node, ast.ClassDef)]


def classes():
    """Every class of the source, with its file."""
    return [(path, node) for path, node in definitions() if isinstance(node, ast.ClassDef)]


def is_command(function):
    """Whether this is a command: its signature is its help, with a line or two per flag."""
    return any(ast.unparse(decorator).startswith("app.command") for decorator in function.decorator_list)


def lines(function):
    """The lines of a function from `def` to its last, with its docstring."""
    return function.end_lineno - function.lineno + 1


def fields(class_):
    """The names of a class's annotated fields."""
    return [statement.target.id for statement in class_.body if isinstance(statement, ast.AnnAssign)]


def names_and_sentences(path):
    """The names, comments and docstrings of a test file with their lines: its other strings may be tested data."""
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        is_docstring = token.type == tokenize.STRING and before in {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
        if is_docstring or token.type in {tokenize.NAME, tokenize.COMMENT}:
            yield token.start[0], token.string
        if token.type not in {tokenize.NL, tokenize.COMMENT}:
            before = token.type


def test_top_level_of_extractors_has_at_most_thirteen_entries():
    """`ls extractors` shows the pipeline."""
    entries = {path.name for path in (ROOT / "extractors").iterdir() if path.name not in {"__init__.py", "__pycache__"}}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_no_file_is_longer_than_350_lines():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES
    }
    assert {path: length for path, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_longer_than_60_lines():
    """Commands are excepted, as their signatures are their help."""
    found = {f"{path}:{function.name}": lines(function) for path, function in functions() if not is_command(function)}
    assert {name: length for name, length in found.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


def test_nine_in_ten_functions_have_at_most_15_lines():
    lengths = sorted(lines(function) for _, function in functions())
    assert lengths[len(lengths) * 9 // 10] <= MOST_LINES_OF_NINE_IN_TEN


def test_every_function_states_what_it_returns():
    assert [f"{path}:{function.name}" for path, function in functions() if function.returns is None] == []


def test_no_context_object_has_more_than_ten_fields():
    """Parameters that pass from stage to stage are grouped into a few values."""
    found = {f"{path}:{class_.name}": fields(class_) for path, class_ in classes() if CONTEXTS.search(class_.name)}
    assert {name: names for name, names in found.items() if len(names) > MOST_FIELDS} == {}


def test_code_and_docs_name_their_subjects():
    """A vague subject hides which part of the program acts, also in the names and sentences of tests."""
    documents = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in (*SOURCES, *documents, *TESTS)}
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in texts.items()
        if VAGUE.search(text)  # before tokens are made, which takes long
        for number, line in (names_and_sentences(path) if path in TESTS else enumerate(text.splitlines(), 1))
        if VAGUE.search(line)
    ]
    assert len(found) <= MOST_VAGUE_WORDS, found


def test_every_module_is_named_by_a_test():
    """A test file of its name, an import, or the docstring of a test names it."""
    tests = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    files, text = {path.name for path in tests}, "\n".join(tests.values())
    modules = [path.relative_to(ROOT) for path in SOURCES if not path.name.startswith("__")]
    assert [path.as_posix() for path in modules if f"test_{path.name}" not in files and not is_named(path, text)] == []


def is_named(path, text):
    """Whether tests import the module at this path or write its name."""
    package, name = ".".join(path.parent.parts), path.stem
    return f"{package}.{name}" in text or bool(re.search(rf"from {re.escape(package)} import [^\n]*\b{name}\b", text))
