"""read.py: a small receipt, drawn here, is read with RapidOCR and filled into a schema."""

import asyncio
import base64
import io

import httpx
import orjson
import pytest
from PIL import Image, ImageDraw, ImageFont

from extractors.endpoint.app import create_app
from extractors.endpoint.ocr.picture import parse_picture
from extractors.endpoint.ocr.read import Ocr
from extractors.endpoint.readers import OcrReader
from extractors.endpoint.refusal import RequestError

pytestmark = pytest.mark.anyio

RECEIPT = (
    (60, 30, "CORNER BAKERY LTD"),
    (60, 80, "12 Mill Lane, 70435 Hopetown"),
    (60, 130, "Date: 05/03/2024 14:02"),
    (60, 200, "Rye bread"),
    (420, 200, "4.20"),
    (60, 250, "Coffee"),
    (420, 250, "2.80"),
    (60, 320, "TOTAL"),
    (420, 320, "EUR 7.00"),
    (60, 370, "CASH"),
    (420, 370, "10.00"),
    (60, 420, "CHANGE"),
    (420, 420, "3.00"),
)
SCHEMA = {
    "type": "object",
    "properties": {
        "company": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "date": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "total": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "currency": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}


@pytest.fixture(scope="module")
def ocr():
    """One OCR engine for all tests of this file."""
    return Ocr(workers=1)


def draw_url(lines, size=(620, 480), cut=None):
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=26)
    for left, top, text in lines:
        draw.text((left, top), text, fill="black", font=font)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()[:cut]).decode()


async def post(ocr, *urls, **more):
    blocks = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {"model": "any", "messages": [{"role": "user", "content": blocks}], **more}
    transport = httpx.ASGITransport(create_app(OcrReader(ocr)))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        return await http.post("/v1/chat/completions", json=body)


async def test_ocr_reader_fills_the_schema_from_pixels(ocr):
    """The answer has log probabilities that are made of the scores of its words."""
    response_format = {"type": "json_schema", "json_schema": {"name": "receipt", "schema": SCHEMA}}
    reply = (await post(ocr, draw_url(RECEIPT), response_format=response_format, logprobs=1)).json()
    assert reply["model"] == "offline/rapidocr"
    assert orjson.loads(reply["choices"][0]["message"]["content"]) == {
        "company": "CORNER BAKERY LTD",
        "date": "2024-03-05",
        "total": 7.0,
        "currency": "EUR",
    }
    logprobs = reply["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == reply["choices"][0]["message"]["content"]
    assert len({number for number in logprobs["token_logprobs"] if number < 0}) > len(SCHEMA["properties"])
    assert max(logprobs["token_logprobs"]) == 0


@pytest.mark.slow
async def test_ocr_reader_without_a_schema_returns_lines_of_all_images_in_order(ocr):
    first, second = draw_url([(60, 40, "FIRST PAGE")], (400, 120)), draw_url([(60, 40, "SECOND PAGE")], (400, 120))
    reply = (await post(ocr, first, second)).json()
    assert reply["choices"][0]["message"]["content"] == "FIRST PAGE\nSECOND PAGE"


async def test_ocr_reader_answers_a_blank_image_with_empty_text(ocr):
    reply = await post(ocr, draw_url([]))
    assert reply.json()["choices"][0]["message"]["content"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000)])
async def test_ocr_reader_answers_extreme_shapes_with_empty_text(ocr, size):
    """A line of pixels is not enlarged until memory is full."""
    reply = await post(ocr, draw_url([], size))
    assert reply.json()["choices"][0]["message"]["content"] == ""


async def test_ocr_reader_refuses_a_truncated_image(ocr):
    """Its header is valid, its pixels are not."""
    reply = await post(ocr, draw_url(RECEIPT, cut=3000))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "image_unreadable"


@pytest.mark.slow
async def test_ocr_refuses_more_than_twice_as_many_reads_as_workers(ocr):
    """The excess read is refused at once, and the others are answered."""
    pictures = (parse_picture(draw_url([(60, 40, "ONE")], (400, 120))),)
    reads = [ocr.read(pictures, lambda document: document.texts[0]) for _ in range(3)]
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert results[:2] == ["ONE", "ONE"]
    assert isinstance(results[2], RequestError)
    assert results[2].status == 503
