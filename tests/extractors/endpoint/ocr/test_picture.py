"""Lifting: a request means the same with its pictures' data taken out before it is parsed."""

import base64
import io
import os

import orjson
import pytest
from PIL import Image

from extractors.endpoint.ocr.picture import extract_images
from extractors.endpoint.refusal import Refusal
from extractors.endpoint.wire import parse_request


def noise(width, height, kind="PNG"):
    """A picture of this size that does not compress, as a data URL."""
    stream = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(stream, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def block(url):
    return {"type": "image_url", "image_url": {"url": url}}


def text(said):
    return {"type": "text", "text": said}


def body(*blocks, **more):
    return orjson.dumps({"messages": [{"role": "user", "content": list(blocks)}], **more})


def test_little_is_left_to_parse():
    """What is left has the size of its text."""
    sent = body(text("Read it."), block(noise(200, 100)), block(noise(100, 200)))
    left, pieces = extract_images(sent)
    assert len(pieces) == 2
    assert len(left) + sum(len(piece) for piece in pieces) == pytest.approx(len(sent), abs=100)
    assert len(left) < 500


def test_pictures_keep_their_sizes_order_and_pixels():
    """Large ones and small ones, in either form of a block."""
    urls = [noise(200, 100), noise(3, 2), noise(100, 200, "JPEG")]
    asked = parse_request(body(block(urls[0]), block(urls[1]), {"type": "image_url", "image_url": urls[2]}))
    assert [picture.size for picture in asked.pictures] == [(200, 100), (3, 2), (100, 200)]
    assert [picture.pixels().size for picture in asked.pictures] == [(200, 100), (3, 2), (100, 200)]


@pytest.mark.parametrize("said", ["data:,", "data:image/png;base64,", 'They wrote "data:image/png;base64,'])
def test_a_text_that_looks_like_a_picture_stays_a_text(said):
    """It is billed by its length, and the pictures beside it are found."""
    said += "A" * 9000
    asked = parse_request(body(text(said), block(noise(200, 100)), text(said)))
    assert asked.text_tokens == -(-2 * len(said) // 4)
    assert [picture.size for picture in asked.pictures] == [(200, 100)]


def test_escaped_slashes_are_read():
    """Some encoders escape every slash."""
    sent = body(block(noise(200, 100))).replace(b"/", b"\\/")
    assert parse_request(sent).pictures[0].pixels().size == (200, 100)


def test_data_outside_the_messages_does_no_harm():
    """A field that the endpoint does not read may hold anything."""
    url = noise(200, 100)
    asked = parse_request(body(block(url), metadata={"preview": noise(50, 60), "again": url}))
    assert [picture.size for picture in asked.pictures] == [(200, 100)]


@pytest.mark.parametrize("cut", [1, 50, 5000, -3])
def test_a_body_that_is_cut_short_is_no_json(cut):
    """Wherever it is cut."""
    with pytest.raises(Refusal, match="not JSON"):
        parse_request(body(text("Read it."), block(noise(200, 100)))[:cut])
