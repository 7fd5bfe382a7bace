"""images/open.py: opening a picture safely, and foreign errors as this project's own."""

import struct
from io import BytesIO

import pytest
from PIL import Image, UnidentifiedImageError

from extractors.core.errors import DocumentError
from extractors.images.open import first_line, open_picture, translate_errors


def translate(error):
    """The DocumentError that this foreign error becomes."""
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
def test_what_pillow_raises_over_broken_data_is_translated(error):
    """Kind and stage are the caller's, the cause is kept, and another try cannot cure it."""
    translated = translate(error)
    assert (translated.kind, translated.stage, translated.final) == ("unreadable", "prepare", True)
    assert translated.__cause__ is error


def test_what_pillow_cannot_identify_is_not_an_image():
    """The kind tells a damaged picture from no picture at all."""
    assert translate(UnidentifiedImageError("x")).kind == "not_an_image"


def test_a_document_error_passes_unchanged():
    """What is translated already is not translated again."""
    error = DocumentError("too big", kind="too_many_bytes", stage="scan")
    assert translate(error) is error


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, RecursionError])
def test_a_bug_passes_untranslated(error):
    """What is no sign of broken data propagates as the bug that it is."""
    with pytest.raises(error), translate_errors("unreadable", "prepare"):
        raise error


def test_opening_decodes_no_pixel():
    """A picture is open once its header is read; the pixels wait until they are asked for."""
    buffer = BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG")
    scan = buffer.getvalue().index(b"\xff\xda")
    picture = open_picture(BytesIO(buffer.getvalue()[: scan + 14]), "bill")
    assert picture.size == (40, 30)


def test_what_is_no_picture_names_the_stage():
    """The error says where it came up."""
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
def test_an_error_fits_on_one_line(error, line):
    """Its text is one line of at most 200 characters, or its name where it has none."""
    assert first_line(error) == line
