"""picture.py: a request has the same meaning when its image data is extracted before JSON parsing."""

import base64
import io
import os

import orjson
import pytest
from PIL import Image

from extractors.endpoint.ocr.picture import extract_images
from extractors.endpoint.refusal import RequestError
from extractors.endpoint.wire import parse_request


def build_noise_url(width, height, kind="PNG"):
    """Build an image of this size that does not compress, as a data URL."""
    stream = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(stream, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def image_block(url):
    return {"type": "image_url", "image_url": {"url": url}}


def text_block(words):
    return {"type": "text", "text": words}


def build_body(*blocks, **more):
    return orjson.dumps({"messages": [{"role": "user", "content": list(blocks)}], **more})


def test_extract_images_leaves_only_text_to_parse():
    """The remaining bytes have the size of the request's text."""
    body = build_body(
        text_block("Read it."), image_block(build_noise_url(200, 100)), image_block(build_noise_url(100, 200))
    )
    rest, pieces = extract_images(body)
    assert len(pieces) == 2
    assert len(rest) + sum(len(piece) for piece in pieces) == pytest.approx(len(body), abs=100)
    assert len(rest) < 500


def test_parse_request_keeps_sizes_order_and_pixels_of_images():
    """Images may be large or small, in either form of a block."""
    urls = [build_noise_url(200, 100), build_noise_url(3, 2), build_noise_url(100, 200, "JPEG")]
    request = parse_request(
        build_body(image_block(urls[0]), image_block(urls[1]), {"type": "image_url", "image_url": urls[2]})
    )
    assert [picture.size for picture in request.pictures] == [(200, 100), (3, 2), (100, 200)]
    assert [picture.pixels().size for picture in request.pictures] == [(200, 100), (3, 2), (100, 200)]


@pytest.mark.parametrize("words", ["data:,", "data:image/png;base64,", 'They wrote "data:image/png;base64,'])
def test_parse_request_keeps_text_that_looks_like_a_data_url(words):
    """The text is billed by its length, and images beside it are found."""
    words += "A" * 9000
    request = parse_request(build_body(text_block(words), image_block(build_noise_url(200, 100)), text_block(words)))
    assert request.text_tokens == -(-2 * len(words) // 4)
    assert [picture.size for picture in request.pictures] == [(200, 100)]


def test_parse_request_reads_escaped_slashes():
    """Some encoders escape every slash."""
    body = build_body(image_block(build_noise_url(200, 100))).replace(b"/", b"\\/")
    assert parse_request(body).pictures[0].pixels().size == (200, 100)


def test_parse_request_ignores_image_data_outside_messages():
    """Fields that the endpoint does not read may hold any value."""
    url = build_noise_url(200, 100)
    request = parse_request(build_body(image_block(url), metadata={"preview": build_noise_url(50, 60), "again": url}))
    assert [picture.size for picture in request.pictures] == [(200, 100)]


@pytest.mark.parametrize("cut", [1, 50, 5000, -3])
def test_parse_request_refuses_a_truncated_body(cut):
    with pytest.raises(RequestError, match="not JSON"):
        parse_request(build_body(text_block("Read it."), image_block(build_noise_url(200, 100)))[:cut])
