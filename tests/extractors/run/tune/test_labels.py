"""labels.py: how a truth file is matched with the documents of a source, and which files are refused."""

import json
from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from extractors.core import Document, Found
from extractors.core.errors import ConfigurationError
from extractors.core.schema import load
from extractors.run.tune.labels import read_labels

NAMES = ("/in/2025/a.jpg", "/in/2025/b.jpg", "/in/2026/b.jpg", "/in/2026/c.jpg")
DOCUMENTS = [Document(name, (Found(name),)) for name in NAMES]
LINES = [
    {"uri": "c.jpg", "total": "$8.20", "date": "22 MAR 18", "line_items": [{"description": "tea", "amount": "8.2"}]},
    {"uri": "/in/2025/a.jpg", "company": None, "address": "1 High Street", "draw": "doubtful"},
    {"uri": "2026/b.jpg", "total": 3},
]


def read_truth(path):
    """The labels of this file for four receipts."""
    return read_labels(str(path), load("receipt").model, DOCUMENTS)


def write_truth(folder, lines, name="truth.jsonl"):
    """A truth file with these lines."""
    path = folder / name
    if name.endswith(".parquet"):
        pl.DataFrame(lines, infer_schema_length=None).write_parquet(path)
    elif name.endswith(".csv"):
        names = list(dict.fromkeys(key for line in lines for key in line))
        cells = [[line.get(key, "") for key in names] for line in lines]
        texts = [
            [json.dumps(cell) if isinstance(cell, list) or cell is None else cell for cell in row] for row in cells
        ]
        pl.DataFrame([[str(cell) for cell in row] for row in texts], schema=names, orient="row").write_csv(path)
    else:
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize("name", ["truth.jsonl", "truth.csv", "truth.parquet"])
def test_label_is_read_as_the_schema_reads_an_answer(tmp_path, name):
    """Values become cells, names may be the ends of paths, and fields without a value are not scored."""
    truth = read_truth(write_truth(tmp_path, LINES, name))
    assert [label.document.document for label in truth.labelled] == [
        "/in/2025/a.jpg",
        "/in/2026/b.jpg",
        "/in/2026/c.jpg",
    ]
    first, second, third = (dict(label.cells) for label in truth.labelled)
    assert first == {"address": "1 High Street"} | ({"company": None} if name != "truth.parquet" else {})
    assert second == {"total": Decimal(3)}
    assert (third["total"], third["date"]) == (Decimal("8.20"), date(2018, 3, 22))
    assert third["line_items"][0]["amount"] == Decimal("8.20")
    assert [label.draw for label in truth.labelled] == ["doubtful", "random", "random"]
    assert truth.unlabelled == ("/in/2025/b.jpg",)
    assert truth.fields[0] in {"company", "address"}


A, C = {"uri": "a.jpg", "total": 1}, {"uri": "c.jpg", "total": 1}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([A, C, {"uri": "b.jpg", "total": 1}], "line 3: 'b.jpg' names several documents"),
        ([A, C, {"uri": "d.jpg", "total": 1}], "line 3: the source has no document 'd.jpg'"),
        ([{"uri": "x.jpg", "total": 1}, {"uri": "y.jpg", "total": 1}], "no label .* is of a document of the source"),
        ([A, {"uri": "c.jpg", "totl": 1}], "line 2: unknown field 'totl', did you mean total?"),
        ([A, {"uri": "c.jpg", "total": "much"}], "line 2: field 'total': 'much' does not fit"),
        ([A, {"uri": "c.jpg", "line_items": "tea"}], "line 2: field 'line_items'"),
        (
            [A, C, {"uri": "/in/2025/a.jpg", "total": 1}],
            "line 3: '/in/2025/a.jpg' is labelled a second time, after .*line 1",
        ),
        ([A], "the label of one document"),
        ([A, {"uri": "c.jpg"}], "line 2: 'c.jpg' has no value of any field"),
        ([A, C | {"draw": "by hand"}], "line 2: draw 'by hand': use random or doubtful"),
        ([], "holds no labels"),
    ],
)
def test_truth_file_with_an_ambiguous_unknown_or_invalid_label_is_refused(tmp_path, lines, words):
    """The error names the line, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=words.replace("?", r"\?")):
        read_truth(write_truth(tmp_path, lines))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("truth.csv", b"uri,total\na.jpg,1\nc.jpg\n", "line 3: has 1 cells, and the header has 2"),
        ("truth.csv", b"uri,total,total\na.jpg,1,2\n", "line 1: a column's name occurs twice"),
        ("truth.csv", b"total\n1\n", "line 2: has no text `document` or `uri`"),
        ("truth.csv", b"uri,total\na.jpg,\xff\n", "is no CSV file in UTF-8"),
        ("truth.parquet", b"PAR1", "is no readable Parquet file"),
        ("truth.jsonl", b"{", "line 1: is no JSON object"),
    ],
)
def test_malformed_truth_file_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        read_truth(tmp_path / name)
