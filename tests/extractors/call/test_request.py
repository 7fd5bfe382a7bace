"""call/request.py: a request is JSON with any number of images, including none."""

import json

import pytest

from extractors.call.profiles import PROFILES
from extractors.call.request import RequestOptions, RequestTemplate
from extractors.core.schema import load


@pytest.mark.parametrize("images", [0, 1, 3])
def test_request_has_its_images_after_the_question(images):
    """A probe of the calibration has no image: it measures the text alone."""
    template = RequestTemplate(load("caption"), ask="?", model="m", profile=PROFILES["vllm"], style=RequestOptions())
    blocks = [b'{"type":"image_url","number":%d}' % number for number in range(images)]
    request = json.loads(b"".join(template.body(blocks, 64).parts))
    question, *image_blocks = request["messages"][1]["content"]
    assert question == {"type": "text", "text": "?"}
    assert [block["number"] for block in image_blocks] == list(range(images))
