"""What a user writes instead: a loop of instructor or LiteLLM over a folder, as their documentation shows it.

    .venv-bench/bin/python benchmarks/loops.py instructor FOLDER --url URL --output rows.jsonl

All images at once behind a semaphore, each as a base64 data URL; with `--resize` Pillow's `thumbnail` (LANCZOS) first.
Replies are validated by the same schema as tilewise's and written as JSON lines; there is no ledger and no resume.
"""

import argparse
import asyncio
import base64
import mimetypes
from io import BytesIO
from pathlib import Path

from schemas.receipt import INSTRUCTIONS, Receipt


def read_image(path, resize):
    """A data URL of the file, or of the picture made smaller."""
    if resize is None:
        data, kind = path.read_bytes(), mimetypes.guess_type(path.name)[0]
    else:
        from PIL import Image

        image = Image.open(path)
        image.thumbnail((resize, resize), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=90)
        data, kind = buffer.getvalue(), "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def build_messages(url):
    """Instructions and the image."""
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": INSTRUCTIONS}, image]}]


def instructor_call(url):
    """A function that asks instructor for one receipt."""
    import instructor
    from openai import AsyncOpenAI

    client = instructor.from_openai(
        AsyncOpenAI(base_url=url, api_key="any", timeout=600), mode=instructor.Mode.JSON_SCHEMA
    )

    async def call(image):
        return await client.chat.completions.create(
            model="maker/model", messages=build_messages(image), response_model=Receipt
        )

    return call


def litellm_call(url):
    """A function that asks LiteLLM for one receipt."""
    import litellm

    async def call(image):
        reply = await litellm.acompletion(
            model="openai/maker/model",
            messages=build_messages(image),
            api_base=url,
            api_key="any",
            response_format=Receipt,
            timeout=600,
        )
        return Receipt.model_validate_json(reply.choices[0].message.content)

    return call


def openai_call(url):
    """A function that asks the OpenAI SDK for one receipt."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="any", timeout=600)

    async def call(image):
        reply = await client.chat.completions.parse(
            model="maker/model", messages=build_messages(image), response_format=Receipt
        )
        return reply.choices[0].message.parsed

    return call


CALLS = {"instructor": instructor_call, "litellm": litellm_call, "openai": openai_call}


async def loop(options):
    """Read all images of the folder, and write a line for each."""
    call, semaphore = CALLS[options.library](options.url), asyncio.Semaphore(options.concurrency)

    async def one(path):
        async with semaphore:
            return await call(await asyncio.to_thread(read_image, path, options.resize))

    receipts = await asyncio.gather(*(one(path) for path in sorted(options.folder.iterdir())))
    options.output.write_text("".join(receipt.model_dump_json() + "\n" for receipt in receipts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=CALLS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", required=True, help="base URL, up to and including /v1")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--resize", type=int, help="longest side in pixels")
    asyncio.run(loop(parser.parse_args()))
