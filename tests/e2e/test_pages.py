"""`tilewise run` on documents of several pages: one call and one result for each document, and a row for each page."""

import base64
import itertools
import json
import shutil
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from extractors.core.tiles import Size, get_rule

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
MOST = ("--schema", "caption", "--yes", "--json", "--direct", "--bill", "formula")
BY_FOLDER = ("--document-by", "folder")
A4_SENT = Size(791, 1119)  # A4 at the size of one tile


def list_reds(request):
    """The red value of the middle pixel of every image in a request."""
    blocks = [block for block in request["messages"][1]["content"] if block["type"] == "image_url"]
    pictures = [Image.open(BytesIO(decode_image(block))) for block in blocks]
    return [image.convert("RGB").getpixel((image.width // 2, image.height // 2))[0] for image in pictures]


def decode_image(block):
    """The bytes in an image block."""
    return base64.b64decode(block["image_url"]["url"].partition(",")[2])


def list_sizes(request):
    """The size of every image in a request."""
    blocks = [block for block in request["messages"][1]["content"] if block["type"] == "image_url"]
    return [Image.open(BytesIO(decode_image(block))).size for block in blocks]


def parse_row(result):
    """The row of `runs` that a command printed."""
    return json.loads(result.stdout)


@pytest.fixture
def write(workspace):
    """Writes a file below `in`, and returns its path."""

    def write_file(name, data):
        path = workspace.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return write_file


@pytest.fixture
def run_folder(workspace, serve, replies):
    """Runs with a server that accepts every image; returns the result and the requests."""
    server = serve(replies.ok())
    workspace.env["TILEWISE_BASE_URL"] = server.url

    def run(*args, **env):
        server.asked.clear()
        return workspace.run("run", "in", *MOST, *args, env=env), list(server.asked)

    return run


def draw_grey(number, size=(300, 200)):
    """A grey image as PNG bytes."""
    buffer = BytesIO()
    Image.new("RGB", size, (number, number, number)).save(buffer, "PNG")
    return buffer.getvalue()


def draw_tiff(*greys):
    """A TIFF with one frame for each grey value."""
    buffer = BytesIO()
    first, *others = (Image.new("L", (300, 200 + level), level) for level in greys)
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


def test_folder_is_one_call_with_pages_in_order(workspace, write, run_folder):
    """Its result is named by the folder, its image is the first page, and every page has a row in `images`."""
    pages = [write(f"invoice/page {number}.png", draw_grey(10 * number)) for number in (2, 10, 1)]
    pages = [pages[2], pages[0], pages[1]]
    result, (request,) = run_folder(*BY_FOLDER)
    row, call, images = workspace.only("results"), workspace.only("calls"), workspace.table("images").sort("page")
    assert result.exit_code == 0, result.output
    assert list_reds(request) == [10, 20, 100]
    assert (row["_document"], row["_image"], row["_pages"]) == (
        str(workspace.folder / "in" / "invoice"),
        pages[0],
        pages,
    )
    assert (call["document"], call["pages"], call["attempt"]) == (row["_document"], 3, 1)
    assert images["page"].to_list() == [1, 2, 3]
    assert images["image"].to_list() == pages
    assert set(images["document"]) == {row["_document"]}
    assert (parse_row(result)["found"], parse_row(result)["accepted"], parse_row(result)["calls"]) == (1, 1, 1)


def test_document_estimate_sums_pages_and_counts_text_once(workspace, write, run_folder):
    for number, size in enumerate([(300, 200), (1000, 700), (560, 560)]):
        write(f"doc/{number}.png", draw_grey(number, size))
    write("one/a.png", draw_grey(9))
    result, _ = run_folder(*BY_FOLDER, "--policy", "faithful")
    calls = {Path(row["document"]).name: row for row in workspace.table("calls").to_dicts()}
    results = {Path(row["_document"]).name: row for row in workspace.table("results").to_dicts()}
    tokens = [get_rule("formula").tokens(Size(*size)) for size in ((300, 200), (1000, 700), (560, 560))]
    text = calls["one"]["estimated_prompt_tokens"] - 1601
    assert calls["doc"]["estimated_image_tokens"] == sum(tokens)
    assert calls["doc"]["estimated_prompt_tokens"] == sum(tokens) + text
    assert results["doc"]["_image_tokens_estimated"] == sum(tokens)
    assert (results["doc"]["_prompt_tokens"], results["doc"]["_completion_tokens"]) == (1000, 100)
    images = [row for row in workspace.table("images").sort("page").to_dicts() if row["document"].endswith("doc")]
    price = Decimal("0.30") / 1_000_000
    first, second, third = (row["cost_low_usd"] for row in images)
    assert (second, third) == (tokens[1] * price, tokens[2] * price)
    assert first == (tokens[0] + text) * price
    assert images[0]["cost_high_usd"] - first > images[2]["cost_high_usd"] - third  # page 1 has the answer
    assert parse_row(result)["estimated_low_usd"] == pytest.approx(float(sum(tokens) + 1601 + 2 * text) * float(price))


def test_document_is_skipped_until_a_page_is_added(write, run_folder):
    write("doc/1.png", draw_grey(1))
    write("doc/2.png", draw_grey(2))
    run_folder(*BY_FOLDER)
    second, requests = run_folder(*BY_FOLDER)
    assert (parse_row(second)["skipped"], requests) == (1, [])
    write("doc/3.png", draw_grey(3))
    _, (request,) = run_folder(*BY_FOLDER)
    assert list_reds(request) == [1, 2, 3]


@pytest.mark.parametrize("broken", [b"no picture", draw_grey(7)[:60]], ids=["header", "pixels"])
def test_broken_page_rejects_its_document(workspace, write, run_folder, broken):
    """Nothing of it is sent, and the failure names the page."""
    write("doc/1.png", draw_grey(1))
    path = write("doc/2.png", broken)
    write("sound/1.png", draw_grey(5))
    result, requests = run_folder(*BY_FOLDER)
    failure = workspace.only("failures")
    images = workspace.table("images").filter(document=failure["document"]).sort("page")
    assert (result.exit_code, len(requests), parse_row(result)["rejected"], parse_row(result)["accepted"]) == (
        1,
        1,
        1,
        1,
    )
    assert failure["message"].startswith(f"{path}: ")
    assert (failure["image"], failure["final"]) == (str(workspace.folder / "in" / "doc" / "1.png"), True)
    assert images["page"].to_list() == [1, 2]


def test_document_over_page_limit_is_rejected(workspace, write, run_folder):
    """The message names the setting; with a higher limit, `--redo failed` reads it."""
    for number in range(11):
        write(f"doc/{number}.png", draw_grey(number))
    result, requests = run_folder(*BY_FOLDER)
    failure = workspace.only("failures")
    assert (result.exit_code, requests) == (1, [])
    assert (failure["kind"], failure["message"]) == ("too_many_pages", "11 pages are over TILEWISE_MAX_IMAGES=10")
    assert set(workspace.table("images")["reason"]) == {"too_many_pages"}
    result, (request,) = run_folder(*BY_FOLDER, "--redo", "failed", TILEWISE_MAX_IMAGES="11")
    assert (result.exit_code, len(list_reds(request))) == (0, 11)


def test_document_by_name_groups_numbered_files(workspace, write, run_folder):
    for number, name in enumerate(("a-2", "a-1", "b"), 1):
        write(f"{name}.png", draw_grey(number))
    _, requests = run_folder("--document-by", "name")
    assert sorted(map(list_reds, requests)) == [[2, 1], [3]]
    assert sorted(Path(document).name for document in workspace.table("results")["_document"]) == ["a", "b.png"]


def test_document_by_frames_reads_every_frame(workspace, write, run_folder):
    """Pages are named by the number of the frame."""
    path = write("a.tif", draw_tiff(10, 20, 30))
    _, (request,) = run_folder("--document-by", "frames")
    row, images = workspace.only("results"), workspace.table("images").sort("page")
    assert list_reds(request) == [10, 20, 30]
    assert (row["_document"], row["_pages"]) == (path, [f"{path}#page={number}" for number in (1, 2, 3)])
    assert images["image"].to_list() == row["_pages"]
    assert images.select("height", "frames").rows() == [(210, 3), (220, 3), (230, 3)]


def test_truncated_frame_rejects_its_document(workspace, write, run_folder):
    """The failure names the frame."""
    path = write("a.tif", draw_tiff(10, 20, 30)[:-1000])
    _, requests = run_folder("--document-by", "frames")
    failure = workspace.only("failures")
    assert (requests, failure["stage"], failure["kind"]) == ([], "prepare", "unreadable")
    assert failure["message"].startswith(f"{path}#page=3: cannot be decoded: ")


def test_first_frame_alone_is_read_by_default(workspace, write, run_folder):
    """A note says what is left out."""
    write("a.tif", draw_tiff(10, 20))
    _, (request,) = run_folder()
    assert (list_reds(request), workspace.only("images")["note"]) == ([10], "first of 2 frames")


def test_pdf_is_one_document_of_its_pages(workspace, write, run_folder, pdf):
    """Each page is rendered at the size that is sent, and named by its number."""
    path = write("a.pdf", pdf("one", "two", "three"))
    result, (request,) = run_folder()
    row, call, images = workspace.only("results"), workspace.only("calls"), workspace.table("images").sort("page")
    assert result.exit_code == 0, result.output
    assert list_sizes(request) == [tuple(A4_SENT)] * 3
    assert (row["_document"], row["_image"], row["_encoded"]) == (path, f"{path}#page=1", True)
    assert row["_pages"] == images["image"].to_list() == [f"{path}#page={number}" for number in (1, 2, 3)]
    assert images.select("page", "format", "width", "height", "action").rows() == [
        (number, "PDF", 1653, 2339, "resize") for number in (1, 2, 3)
    ]
    assert (call["pages"], call["estimated_image_tokens"]) == (3, 3 * 1601)
    second, requests = run_folder()
    assert (parse_row(second)["skipped"], requests) == (1, [])


def test_folder_of_pdf_and_images_is_one_document(workspace, write, run_folder, pdf):
    """Pages are in order; the document is skipped until the PDF changes."""
    write("doc/1.png", draw_grey(1))
    path = write("doc/2.pdf", pdf("one", "two"))
    write("doc/3.png", draw_grey(3))
    _, (request,) = run_folder(*BY_FOLDER)
    assert [Path(page).name for page in workspace.only("results")["_pages"]] == [
        "1.png",
        "2.pdf#page=1",
        "2.pdf#page=2",
        "3.png",
    ]
    assert (list_reds(request)[0], list_reds(request)[3]) == (1, 3)
    second, requests = run_folder(*BY_FOLDER)
    assert (parse_row(second)["skipped"], requests) == (1, [])
    Path(path).write_bytes(pdf("one", "other"))
    second, requests = run_folder(*BY_FOLDER)
    assert (parse_row(second)["accepted"], len(requests)) == (1, 1)


def test_page_limit_counts_pages_of_all_files(workspace, write, run_folder, pdf):
    write("doc/1.pdf", pdf("one", "two"))
    write("doc/2.pdf", pdf("one", "two"))
    _, requests = run_folder(*BY_FOLDER, TILEWISE_MAX_IMAGES="3")
    assert (requests, workspace.only("failures")["message"]) == ([], "4 pages are over TILEWISE_MAX_IMAGES=3")


@pytest.mark.parametrize(
    ("texts", "password", "kind"),
    [((), None, "empty"), (("1",) * 11, None, "too_many_pages")],
)
def test_invalid_pdf_is_rejected_in_one_row(workspace, write, run_folder, pdf, texts, password, kind):
    """The next run skips it, unless a setting can change that."""
    path = write("a.pdf", pdf(*texts, password=password))
    result, requests = run_folder()
    failure, image = workspace.only("failures"), workspace.only("images")
    assert (result.exit_code, requests) == (1, [])
    assert (failure["document"], failure["kind"], failure["stage"], failure["final"]) == (
        path,
        kind,
        "bill",
        kind == "empty",
    )
    assert (image["image"], image["page"], image["action"], image["reason"]) == (path, 1, "reject", kind)
    assert parse_row(run_folder()[0])["skipped_failed"] == (kind == "empty")


def test_pdf_passwords_are_tried_in_order(workspace, write, run_folder, pdf):
    """Without the right one the PDF is rejected, but not finally; no password is published."""
    write("a.pdf", pdf("one", "two", password="s,1"))
    result, requests = run_folder(TILEWISE_PDF_PASSWORDS="wrong")
    failure = workspace.only("failures")
    assert (result.exit_code, requests, failure["kind"], failure["final"]) == (1, [], "password", False)
    result, (request,) = run_folder(TILEWISE_PDF_PASSWORDS='["wrong", "s,1"]')
    assert (result.exit_code, len(list_reds(request))) == (0, 2)
    stored = [file.read_bytes() for file in (workspace.folder / "out").rglob("*.parquet")]
    assert not any(b"s,1" in data for data in stored)


def test_broken_pdf_page_rejects_the_pdf(workspace, write, run_folder, pdf):
    """The failure names the page."""
    path = write("a.pdf", pdf("one", None, "three"))
    _, requests = run_folder()
    failure = workspace.only("failures")
    assert (requests, failure["kind"]) == ([], "unreadable")
    assert failure["message"] == f"{path}#page=2: the page cannot be opened"


def test_all_pages_climb_together(workspace, write, serve, replies):
    refused = replies.ok({"caption": "x" * 2000, "alt_text": None, "tags": ["wall"]})
    name = workspace.module(
        "from pydantic import BaseModel, Field, field_validator\n"
        "class Note(BaseModel):\n"
        "    caption: str\n"
        "    @field_validator('caption')\n"
        "    @classmethod\n"
        "    def short(cls, value):\n"
        "        if len(value) > 100:\n"
        "            raise ValueError('too long')\n"
        "        return value\n"
    )
    server = serve(refused, replies.ok())
    for number in (1, 2):
        write(f"doc/{number}.png", draw_grey(number, (1653, 2339)))
    args = ("--schema", f"{name}:Note", "--yes", "--direct", "--bill", "formula", *BY_FOLDER)
    result = workspace.run("run", "in", *args, env={"TILEWISE_BASE_URL": server.url})
    assert result.exit_code == 0, result.output
    low, high = (list_sizes(request) for request in server.asked)
    assert (len(low), len(high)) == (2, 2)
    assert all(before[0] < after[0] for before, after in zip(low, high, strict=True))
    assert workspace.only("results")["_attempts"] == 2


def test_pdf_in_a_bucket_is_fetched_twice(bucket, workspace, echo, pdf):
    """Once to bill all its pages, and once to send them; a PDF has no header to read alone."""
    bucket.put("in/a.pdf", pdf(*map(str, range(1, 10))))
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo}
    bucket.front.asked.clear()
    result = workspace.run("run", f"{bucket.url}/in", *MOST)
    assert result.exit_code == 0, result.output
    assert workspace.only("results")["_pages"] == [f"{bucket.url}/in/a.pdf#page={number}" for number in range(1, 10)]
    assert [part for _, path, part in bucket.front.asked if path.endswith(".pdf")] == [None, None]


def test_documents_in_a_bucket_are_grouped(bucket, workspace, echo):
    for name, number in itertools.product("ab", (1, 2, 10)):
        bucket.put(f"in/{name}/{number}.png", draw_grey(number))
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo}
    workspace.run("run", f"{bucket.url}/in", *MOST, *BY_FOLDER)
    pages = workspace.table("results").sort("_document")["_pages"].to_list()
    assert pages == [[f"{bucket.url}/in/{name}/{number}.png" for number in (1, 2, 10)] for name in "ab"]


def test_estimate_counts_documents_and_pages(workspace, write, pdf):
    """A document of three pages, one of a single page, and one over the page limit, which counts as one image."""
    write("a/1.pdf", pdf("one", "two"))
    write("a/2.png", draw_grey(1))
    write("b/1.png", draw_grey(2))
    write("c/1.pdf", pdf(*map(str, range(11))))
    estimated = json.loads(workspace.run("run", "in", *MOST, *BY_FOLDER, "--dry-run").stdout)
    assert (estimated["documents"], estimated["images"], estimated["rejected"]) == (3, 5, 1)
    assert estimated["actions"] == {"resize": 2, "send": 2, "reject": 1}


@pytest.mark.slow
def test_offline_run_compares_two_images(workspace):
    """The result has the text of each image, and what was read in one of them only."""
    workspace.env |= dict.fromkeys(("TILEWISE_API_KEY", "TILEWISE_MODEL", "TILEWISE_PRICES"))
    (workspace.folder / "pairs" / "bills").mkdir(parents=True)
    for number, name in enumerate(("till-short-01.jpg", "till-short-02.jpg"), 1):
        shutil.copy(SAMPLES / "receipts" / name, workspace.folder / "pairs" / "bills" / f"{number}.jpg")
    result = workspace.run("run", "pairs", "--document-by", "folder", "--schema", "comparison", "--offline", "--direct")
    row = workspace.only("results")
    first, second = row["images"]
    assert result.exit_code == 0, result.output
    assert [Path(difference).name for difference in row["_pages"]] == ["1.jpg", "2.jpg"]
    assert first.startswith('A picture with the words "')
    assert second.startswith('A picture with the words "')
    assert first != second
    assert {len(difference["in_each"]) for difference in row["differences"]} == {2}
    for difference in row["differences"]:
        assert difference["aspect"] in difference["in_each"]
        assert "not read in this picture" in difference["in_each"]


def test_echo_endpoint_answers_the_comparison_schema(workspace, echo):
    workspace.images("pair/a.png", "pair/b.png")
    result = workspace.run(
        "run", "in", *BY_FOLDER, "--schema", "comparison", "--yes", "--direct", env={"TILEWISE_BASE_URL": echo}
    )
    assert result.exit_code == 0, result.output
    assert len(workspace.only("results")["images"]) == 2
