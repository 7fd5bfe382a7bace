"""open.py: pictures are opened safely, and errors of other libraries are translated."""

import struct
from io import BytesIO

import pytest
from PIL import Image, UnidentifiedImageError

from extractors.core.errors import DocumentError
from extractors.images.open import first_line, open_picture, translate_errors


def translate(error):
    """The DocumentError that this error is translated to."""
    with pytest.raises(DocumentError) as raised, translate_errors("unreadable", "prepare"):
        raise error
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        OSError("x"),
        SyntaxError("x"),
        ValueError("x"),
        IndexError("x"),
        KeyError("x"),
        TypeError("x"),
        struct.error("x"),
        EOFError("x"),
        MemoryError("x"),
        RuntimeError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_pillow_are_translated_to_final_document_errors(error):
    """Kind and stage are those of the caller, and the cause is the original error."""
    translated = translate(error)
    assert (translated.kind, translated.stage, translated.final) == ("unreadable", "prepare", True)
    assert translated.__cause__ is error


def test_unidentified_image_has_the_kind_not_an_image():
    assert translate(UnidentifiedImageError("x")).kind == "not_an_image"


def test_document_error_is_not_translated_again():
    error = DocumentError("too big", kind="too_many_bytes", stage="scan")
    assert translate(error) is error


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, RecursionError])
def test_error_of_a_bug_is_not_translated(error):
    with pytest.raises(error), translate_errors("unreadable", "prepare"):
        raise error


def test_open_picture_decodes_no_pixel():
    """It succeeds for a file that is cut after its header."""
    buffer = BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG")
    scan = buffer.getvalue().index(b"\xff\xda")
    picture = open_picture(BytesIO(buffer.getvalue()[: scan + 14]), "bill")
    assert picture.size == (40, 30)


def test_open_picture_of_text_raises_not_an_image_with_the_stage():
    with pytest.raises(DocumentError) as raised:
        open_picture(BytesIO(b"text"), "prepare")
    assert (raised.value.kind, raised.value.stage) == ("not_an_image", "prepare")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines"), "two lines"),
        (ValueError("  many \t spaces "), "many spaces"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 500), "x" * 200),
    ],
)
def test_first_line_of_an_error_has_at_most_200_characters(error, line):
    """It is the name of an error without a text."""
    assert first_line(error) == line
