"""`tilewise run` on documents of several pages: one call each, one row, and every page told."""

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
A4_SENT = Size(791, 1119)  # what fits one tile of A4


def colours(request):
    """The middle pixel's red of every picture in a request, and how many images blocks there are."""
    blocks = [each for each in request["messages"][1]["content"] if each["type"] == "image_url"]
    pictures = [Image.open(BytesIO(data_of(each))) for each in blocks]
    return [each.convert("RGB").getpixel((each.width // 2, each.height // 2))[0] for each in pictures]


def data_of(block):
    """The bytes in an image block."""
    return base64.b64decode(block["image_url"]["url"].partition(",")[2])


def sizes(request):
    """The size of every picture in a request."""
    blocks = [each for each in request["messages"][1]["content"] if each["type"] == "image_url"]
    return [Image.open(BytesIO(data_of(each))).size for each in blocks]


def row_of(ended):
    """The row of `runs` that a command printed."""
    return json.loads(ended.stdout)


@pytest.fixture
def write(workspace):
    """Writes a file below `in`."""

    def written(name, data):
        path = workspace.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return written


@pytest.fixture
def ran(workspace, serve, replies):
    """Runs the command against a server that answers; gives how it ended and what the server was asked."""
    server = serve(replies.ok())
    workspace.env["TILEWISE_BASE_URL"] = server.url

    def run(*args, **env):
        server.asked.clear()
        return workspace.run("run", "in", *MOST, *args, env=env), list(server.asked)

    return run


def grey(number, size=(300, 200)):
    """A picture of one grey, as PNG bytes."""
    buffer = BytesIO()
    Image.new("RGB", size, (number, number, number)).save(buffer, "PNG")
    return buffer.getvalue()


def tiff(*greys):
    """A TIFF with a frame of each grey."""
    buffer = BytesIO()
    first, *others = (Image.new("L", (300, 200 + each), each) for each in greys)
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


def test_a_folder_is_one_call_of_its_pages_in_order(workspace, write, ran):
    """One row, named by the folder; its image is the first page, and every page has its row of images."""
    pages = [write(f"invoice/page {number}.png", grey(10 * number)) for number in (2, 10, 1)]
    pages = [pages[2], pages[0], pages[1]]
    ended, (asked,) = ran(*BY_FOLDER)
    result, call, images = workspace.only("results"), workspace.only("calls"), workspace.table("images").sort("page")
    assert ended.exit_code == 0, ended.output
    assert colours(asked) == [10, 20, 100]
    assert (result["_document"], result["_image"], result["_pages"]) == (
        str(workspace.folder / "in" / "invoice"),
        pages[0],
        pages,
    )
    assert (call["document"], call["pages"], call["attempt"]) == (result["_document"], 3, 1)
    assert images["page"].to_list() == [1, 2, 3]
    assert images["image"].to_list() == pages
    assert set(images["document"]) == {result["_document"]}
    assert (row_of(ended)["found"], row_of(ended)["accepted"], row_of(ended)["calls"]) == (1, 1, 1)


def test_the_bill_of_a_document_is_that_of_its_pages_and_one_text(workspace, write, ran):
    """Tokens and estimated costs are the pages' sum; text and answer are counted once."""
    for number, size in enumerate([(300, 200), (1000, 700), (560, 560)]):
        write(f"doc/{number}.png", grey(number, size))
    write("one/a.png", grey(9))
    ended, _ = ran(*BY_FOLDER, "--policy", "faithful")
    calls = {Path(each["document"]).name: each for each in workspace.table("calls").to_dicts()}
    results = {Path(each["_document"]).name: each for each in workspace.table("results").to_dicts()}
    tokens = [get_rule("formula").tokens(Size(*size)) for size in ((300, 200), (1000, 700), (560, 560))]
    text = calls["one"]["estimated_prompt_tokens"] - 1601
    assert calls["doc"]["estimated_image_tokens"] == sum(tokens)
    assert calls["doc"]["estimated_prompt_tokens"] == sum(tokens) + text
    assert results["doc"]["_image_tokens_estimated"] == sum(tokens)
    assert (results["doc"]["_prompt_tokens"], results["doc"]["_completion_tokens"]) == (1000, 100)
    images = [each for each in workspace.table("images").sort("page").to_dicts() if each["document"].endswith("doc")]
    price = Decimal("0.30") / 1_000_000
    first, second, third = (each["cost_low_usd"] for each in images)
    assert (second, third) == (tokens[1] * price, tokens[2] * price)
    assert first == (tokens[0] + text) * price
    assert images[0]["cost_high_usd"] - first > images[2]["cost_high_usd"] - third  # the answer, once
    assert row_of(ended)["estimated_low_usd"] == pytest.approx(float(sum(tokens) + 1601 + 2 * text) * float(price))


def test_what_was_read_is_not_read_again_until_a_page_changes(write, ran):
    """The document's version is that of all its pages: a new one is a new document."""
    write("doc/1.png", grey(1))
    write("doc/2.png", grey(2))
    ran(*BY_FOLDER)
    again, asked = ran(*BY_FOLDER)
    assert (row_of(again)["skipped"], asked) == (1, [])
    write("doc/3.png", grey(3))
    _, (asked,) = ran(*BY_FOLDER)
    assert colours(asked) == [1, 2, 3]


@pytest.mark.parametrize("broken", [b"no picture", grey(7)[:60]], ids=["header", "pixels"])
def test_one_broken_page_rejects_its_document(workspace, write, ran, broken):
    """Nothing is sent of it; the failure names the page, and the others are rejected with it."""
    write("doc/1.png", grey(1))
    path = write("doc/2.png", broken)
    write("sound/1.png", grey(5))
    ended, asked = ran(*BY_FOLDER)
    failure = workspace.only("failures")
    images = workspace.table("images").filter(document=failure["document"]).sort("page")
    assert (ended.exit_code, len(asked), row_of(ended)["rejected"], row_of(ended)["accepted"]) == (1, 1, 1, 1)
    assert failure["message"].startswith(f"{path}: ")
    assert (failure["image"], failure["final"]) == (str(workspace.folder / "in" / "doc" / "1.png"), True)
    assert images["page"].to_list() == [1, 2]


def test_more_pages_than_may_be_are_rejected(workspace, write, ran):
    """Eleven are over the limit of ten: the message says so and where it is set, and nothing is sent."""
    for number in range(11):
        write(f"doc/{number}.png", grey(number))
    ended, asked = ran(*BY_FOLDER)
    failure = workspace.only("failures")
    assert (ended.exit_code, asked) == (1, [])
    assert (failure["kind"], failure["message"]) == ("too_many_pages", "11 pages are over TILEWISE_MAX_IMAGES=10")
    assert set(workspace.table("images")["reason"]) == {"too_many_pages"}
    ended, (asked,) = ran(*BY_FOLDER, "--redo", "failed", TILEWISE_MAX_IMAGES="11")
    assert (ended.exit_code, len(colours(asked))) == (0, 11)


def test_numbered_names_are_one_document(workspace, write, ran):
    """`a-1` and `a-2` are; `b` is another."""
    for number, name in enumerate(("a-2", "a-1", "b"), 1):
        write(f"{name}.png", grey(number))
    _, asked = ran("--document-by", "name")
    assert sorted(map(colours, asked)) == [[2, 1], [3]]
    assert sorted(Path(each).name for each in workspace.table("results")["_document"]) == ["a", "b.png"]


def test_frames_are_pages_where_that_is_asked(workspace, write, ran):
    """Named as pages of the file."""
    path = write("a.tif", tiff(10, 20, 30))
    _, (asked,) = ran("--document-by", "frames")
    result, images = workspace.only("results"), workspace.table("images").sort("page")
    assert colours(asked) == [10, 20, 30]
    assert (result["_document"], result["_pages"]) == (path, [f"{path}#page={number}" for number in (1, 2, 3)])
    assert images["image"].to_list() == result["_pages"]
    assert images.select("height", "frames").rows() == [(210, 3), (220, 3), (230, 3)]


def test_a_frame_whose_pixels_are_cut_off_rejects_its_document(workspace, write, ran):
    """The failure names it by its number."""
    path = write("a.tif", tiff(10, 20, 30)[:-1000])
    _, asked = ran("--document-by", "frames")
    failure = workspace.only("failures")
    assert (asked, failure["stage"], failure["kind"]) == ([], "prepare", "unreadable")
    assert failure["message"].startswith(f"{path}#page=3: cannot be decoded: ")


def test_frames_are_none_where_it_is_not_asked(workspace, write, ran):
    """The first is sent, and a note says what is left out."""
    write("a.tif", tiff(10, 20))
    _, (asked,) = ran()
    assert (colours(asked), workspace.only("images")["note"]) == ([10], "first of 2 frames")


def test_a_pdf_is_one_document_of_its_pages(workspace, write, ran, pdf):
    """Each is drawn at the size that is sent, and named by its number."""
    path = write("a.pdf", pdf("one", "two", "three"))
    ended, (asked,) = ran()
    result, call, images = workspace.only("results"), workspace.only("calls"), workspace.table("images").sort("page")
    assert ended.exit_code == 0, ended.output
    assert sizes(asked) == [tuple(A4_SENT)] * 3
    assert (result["_document"], result["_image"], result["_encoded"]) == (path, f"{path}#page=1", True)
    assert result["_pages"] == images["image"].to_list() == [f"{path}#page={number}" for number in (1, 2, 3)]
    assert images.select("page", "format", "width", "height", "action").rows() == [
        (number, "PDF", 1653, 2339, "resize") for number in (1, 2, 3)
    ]
    assert (call["pages"], call["estimated_image_tokens"]) == (3, 3 * 1601)
    again, asked = ran()
    assert (row_of(again)["skipped"], asked) == (1, [])


def test_a_pdf_and_images_are_pages_of_one_folder(workspace, write, ran, pdf):
    """In their order; and what was read is known again, though nobody saw its pages in the listing."""
    write("doc/1.png", grey(1))
    path = write("doc/2.pdf", pdf("one", "two"))
    write("doc/3.png", grey(3))
    _, (asked,) = ran(*BY_FOLDER)
    assert [Path(each).name for each in workspace.only("results")["_pages"]] == [
        "1.png",
        "2.pdf#page=1",
        "2.pdf#page=2",
        "3.png",
    ]
    assert (colours(asked)[0], colours(asked)[3]) == (1, 3)
    again, asked = ran(*BY_FOLDER)
    assert (row_of(again)["skipped"], asked) == (1, [])
    Path(path).write_bytes(pdf("one", "other"))
    again, asked = ran(*BY_FOLDER)
    assert (row_of(again)["accepted"], len(asked)) == (1, 1)


def test_pages_of_several_files_count_together(workspace, write, ran, pdf):
    """Each file is within the limit, the document is not."""
    write("doc/1.pdf", pdf("one", "two"))
    write("doc/2.pdf", pdf("one", "two"))
    _, asked = ran(*BY_FOLDER, TILEWISE_MAX_IMAGES="3")
    assert (asked, workspace.only("failures")["message"]) == ([], "4 pages are over TILEWISE_MAX_IMAGES=3")


@pytest.mark.parametrize(
    ("texts", "password", "kind"),
    [((), None, "empty"), (("1",) * 11, None, "too_many_pages")],
)
def test_a_pdf_that_cannot_be_sent_is_rejected(workspace, write, ran, pdf, texts, password, kind):
    """One row says why; the next run skips it unless a setting can change that."""
    path = write("a.pdf", pdf(*texts, password=password))
    ended, asked = ran()
    failure, image = workspace.only("failures"), workspace.only("images")
    assert (ended.exit_code, asked) == (1, [])
    assert (failure["document"], failure["kind"], failure["stage"], failure["final"]) == (
        path,
        kind,
        "bill",
        kind == "empty",
    )
    assert (image["image"], image["page"], image["action"], image["reason"]) == (path, 1, "reject", kind)
    assert row_of(ran()[0])["skipped_failed"] == (kind == "empty")


def test_passwords_of_the_settings_open_pdfs(workspace, write, ran, pdf):
    """Each is tried in turn; without the right one the document is rejected, and tried again when it is set."""
    write("a.pdf", pdf("one", "two", password="s,1"))
    ended, asked = ran(TILEWISE_PDF_PASSWORDS="wrong")
    failure = workspace.only("failures")
    assert (ended.exit_code, asked, failure["kind"], failure["final"]) == (1, [], "password", False)
    ended, (asked,) = ran(TILEWISE_PDF_PASSWORDS='["wrong", "s,1"]')
    assert (ended.exit_code, len(colours(asked))) == (0, 2)
    stored = [file.read_bytes() for file in (workspace.folder / "out").rglob("*.parquet")]
    assert not any(b"s,1" in data for data in stored)


def test_a_broken_page_of_a_pdf_rejects_it(workspace, write, ran, pdf):
    """The failure names it by its number."""
    path = write("a.pdf", pdf("one", None, "three"))
    _, asked = ran()
    failure = workspace.only("failures")
    assert (asked, failure["kind"]) == ([], "unreadable")
    assert failure["message"] == f"{path}#page=2: the page cannot be opened"


def test_a_document_climbs_whole(workspace, write, serve, replies):
    """All pages are looked at closer when an answer is refused."""
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
        write(f"doc/{number}.png", grey(number, (1653, 2339)))
    args = ("--schema", f"{name}:Note", "--yes", "--direct", "--bill", "formula", *BY_FOLDER)
    ended = workspace.run("run", "in", *args, env={"TILEWISE_BASE_URL": server.url})
    assert ended.exit_code == 0, ended.output
    low, high = (sizes(each) for each in server.asked)
    assert (len(low), len(high)) == (2, 2)
    assert all(before[0] < after[0] for before, after in zip(low, high, strict=True))
    assert workspace.only("results")["_attempts"] == 2


def test_a_pdf_in_a_bucket_is_fetched_twice_however_many_its_pages(bucket, workspace, echo, pdf):
    """Once to be billed and once to be sent; nothing is to be known of it without its end."""
    bucket.put("in/a.pdf", pdf(*map(str, range(1, 10))))
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo}
    bucket.front.asked.clear()
    ended = workspace.run("run", f"{bucket.url}/in", *MOST)
    assert ended.exit_code == 0, ended.output
    assert workspace.only("results")["_pages"] == [f"{bucket.url}/in/a.pdf#page={number}" for number in range(1, 10)]
    assert [part for _, path, part in bucket.front.asked if path.endswith(".pdf")] == [None, None]


def test_documents_of_a_bucket_are_grouped(bucket, workspace, echo):
    """As those of a folder are."""
    for name, number in itertools.product("ab", (1, 2, 10)):
        bucket.put(f"in/{name}/{number}.png", grey(number))
    workspace.env |= bucket.environ | {"TILEWISE_BASE_URL": echo}
    workspace.run("run", f"{bucket.url}/in", *MOST, *BY_FOLDER)
    pages = workspace.table("results").sort("_document")["_pages"].to_list()
    assert pages == [[f"{bucket.url}/in/{name}/{number}.png" for number in (1, 2, 10)] for name in "ab"]


def test_an_estimate_counts_documents_and_pages(workspace, write, pdf):
    """A dry run of three documents of six pages, one of them with too many."""
    write("a/1.pdf", pdf("one", "two"))
    write("a/2.png", grey(1))
    write("b/1.png", grey(2))
    write("c/1.pdf", pdf(*map(str, range(11))))
    said = json.loads(workspace.run("run", "in", *MOST, *BY_FOLDER, "--dry-run").stdout)
    assert (said["documents"], said["images"], said["rejected"]) == (3, 5, 1)
    assert said["actions"] == {"resize": 2, "send": 2, "reject": 1}


@pytest.mark.slow
def test_two_pictures_are_compared_offline(workspace):
    """The reader tells what it read in each, and what in one only: an accepted row, without a model."""
    workspace.env |= dict.fromkeys(("TILEWISE_API_KEY", "TILEWISE_MODEL", "TILEWISE_PRICES"))
    (workspace.folder / "pairs" / "bills").mkdir(parents=True)
    for number, name in enumerate(("till-short-01.jpg", "till-short-02.jpg"), 1):
        shutil.copy(SAMPLES / "receipts" / name, workspace.folder / "pairs" / "bills" / f"{number}.jpg")
    ended = workspace.run("run", "pairs", "--document-by", "folder", "--schema", "comparison", "--offline", "--direct")
    result = workspace.only("results")
    first, second = result["images"]
    assert ended.exit_code == 0, ended.output
    assert [Path(each).name for each in result["_pages"]] == ["1.jpg", "2.jpg"]
    assert first.startswith('A picture with the words "')
    assert second.startswith('A picture with the words "')
    assert first != second
    assert {len(each["in_each"]) for each in result["differences"]} == {2}
    for each in result["differences"]:
        assert each["aspect"] in each["in_each"]
        assert "not read in this picture" in each["in_each"]


def test_two_pictures_are_compared_by_the_echo(workspace, echo):
    """The smallest instance of the schema is a valid one."""
    workspace.images("pair/a.png", "pair/b.png")
    ended = workspace.run(
        "run", "in", *BY_FOLDER, "--schema", "comparison", "--yes", "--direct", env={"TILEWISE_BASE_URL": echo}
    )
    assert ended.exit_code == 0, ended.output
    assert len(workspace.only("results")["images"]) == 2
