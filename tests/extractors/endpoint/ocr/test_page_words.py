"""page_words.py, worker.py: the lines that the OCR process returns for the witness."""

import pytest
from PIL import Image, ImageDraw, ImageFont

from extractors.endpoint.ocr.page_words import Piece, list_lines


def box_corners(x, y, width, height):
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def test_list_lines_orders_words_from_left_to_right():
    """Each word has its box, and a flag that is false for the second part of a word that OCR split."""
    amount = Piece(
        "RM12.50",
        box_corners(200, 2, 70, 20),
        0.9,
        [("RM", box_corners(200, 2, 20, 20)), ("12.50", box_corners(220, 2, 50, 20))],
    )
    label = Piece(
        "TOTAL DUE",
        box_corners(0, 0, 90, 20),
        0.9,
        [("TOTAL", box_corners(0, 0, 50, 20)), ("DUE", box_corners(60, 0, 30, 20))],
    )
    below = Piece("CASH", box_corners(0, 60, 40, 20), 0.9)
    assert list_lines([amount, below, label]) == [
        [
            ["TOTAL", 0, 0, 50, 20, True],
            ["DUE", 60, 0, 30, 20, True],
            ["RM", 200, 2, 20, 20, True],
            ["12.50", 220, 2, 50, 20, False],
        ],
        [["CASH", 0, 60, 40, 20, True]],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("turn", [None, *(getattr(Image.Transpose, f"ROTATE_{angle}") for angle in (90, 180, 270))])
def test_read_pieces_places_words_of_a_turned_page_in_the_picture(turn):
    """The page is turned upright for OCR, and the boxes are turned back."""
    from extractors.endpoint.ocr.read import read_pieces  # noqa: PLC0415 - needs the extra

    page = Image.new("RGB", (700, 500), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(36)
    for row, text in enumerate(("GREEN GARDEN CAFE", "DATE 29/01/2018", "COFFEE WITH MILK", "TOTAL DUE 12.50")):
        draw.text((40, 40 + 100 * row), text, font=font, fill="black")
    turned = page if turn is None else page.transpose(turn)
    (word,) = [word for line in list_lines(read_pieces(turned)) for word in line if word[0] == "12.50"]
    mask = Image.new("L", page.size)
    left = 40 + draw.textlength("TOTAL DUE ", font=font)
    ImageDraw.Draw(mask).rectangle((left, 340, left + draw.textlength("12.50", font=font), 385), fill=255)
    mask = mask if turn is None else mask.transpose(turn)
    assert mask.getpixel((word[1] + word[3] / 2, word[2] + word[4] / 2)) == 255


@pytest.mark.slow
def test_read_pieces_of_a_page_without_text_is_empty():
    from extractors.endpoint.ocr.read import read_pieces  # noqa: PLC0415 - needs the extra

    assert read_pieces(Image.new("L", (300, 200), "white")) == []
