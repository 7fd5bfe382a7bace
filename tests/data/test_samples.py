"""The sample images: each is what the README says, and the truth beside it is what the schemas accept."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from schemas.invoice import Invoice
from schemas.receipt import Receipt

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
PICTURES = {".jpg", ".png", ".webp", ".tiff"}
RECEIPTS = [
    ("a4-scan.jpg", "JPEG", "L", (2480, 3508)),
    ("phone-photo-exif6.jpg", "JPEG", "RGB", (4032, 3024)),
    ("thumbnail-463x894.jpg", "JPEG", "RGB", (463, 894)),
    ("long-grocery.jpg", "JPEG", "L", (600, 2200)),
    ("alpha.png", "PNG", "RGBA", None),
    ("palette.png", "PNG", "P", None),
    ("bilevel.png", "PNG", "1", None),
    ("cmyk.jpg", "JPEG", "CMYK", None),
    ("deep-16bit.png", "PNG", "I;16", None),
    ("photo.webp", "WEBP", "RGB", None),
]


def truth_of(folder):
    """The truth beside a folder's images, line by line."""
    return [json.loads(line) for line in (SAMPLES / folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


def pictures(root):
    """Every picture below a folder that can be opened, by its relative name, with its size in pixels."""
    sizes = {}
    for path in sorted(root.rglob("*")):
        if path.suffix in PICTURES and path.parent.name != "bad":
            with Image.open(path) as picture:
                sizes[path.relative_to(root).as_posix()] = picture.size
    return sizes


TRUTHS = [pytest.param(Receipt, line, id=line["image"]) for line in truth_of("receipts")]
TRUTHS += [pytest.param(Invoice, line, id=line["image"]) for line in truth_of("invoices")]


def test_the_samples_stay_small():
    """All of them together are under 6 MB."""
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 6_000_000


@pytest.mark.parametrize("folder", ["receipts", "invoices", "tickets"])
def test_every_image_has_its_truth(folder):
    """No image without a line of truth, no line without an image, none twice."""
    images = sorted(path.name for path in (SAMPLES / folder).iterdir() if path.suffix in PICTURES)
    assert sorted(line["image"] for line in truth_of(folder)) == images


def test_there_are_enough_receipts():
    """Fourteen kinds of receipt at least."""
    assert len(truth_of("receipts")) >= 14


@pytest.mark.parametrize(("model", "line"), TRUTHS)
def test_the_truth_is_a_document(model, line):
    """Each line of truth has the schema's fields, no others, and passes its gate unchanged."""
    fields = {name: value for name, value in line.items() if name != "image"}
    assert list(fields) == list(model.model_fields)
    document = model.model_validate(fields)
    assert document.total == Decimal(line["total"])
    assert document.model_dump(mode="json") == fields


@pytest.mark.parametrize(("name", "form", "mode", "size"), RECEIPTS)
def test_each_kind_of_picture_is_of_its_kind(name, form, mode, size):
    """Format, mode and size are what the file stands for."""
    with Image.open(SAMPLES / "receipts" / name) as picture:
        assert (picture.format, picture.mode, picture.size) == (form, mode, size or picture.size)


def test_the_phone_photo_lies_on_its_side():
    """Orientation 6 is all the metadata that there is, and the file stays under a megabyte."""
    path = SAMPLES / "receipts" / "phone-photo-exif6.jpg"
    with Image.open(path) as picture:
        assert dict(picture.getexif()) == {0x0112: 6}
    assert path.stat().st_size < 1_000_000


def test_no_other_picture_carries_metadata():
    """Only the phone photo has EXIF."""
    names = [name for name in pictures(SAMPLES) if not name.endswith(("exif6.jpg", ".tiff"))]
    tagged = []
    for name in names:
        with Image.open(SAMPLES / name) as picture:
            tagged += [name] if picture.getexif() else []
    assert tagged == []


def test_the_longest_receipt_has_more_than_forty_items():
    """A long receipt is long."""
    assert max(len(line["line_items"]) for line in truth_of("receipts")) > 40


def test_the_document_has_two_pages():
    """The TIFF has two frames, an invoice and its terms."""
    with Image.open(SAMPLES / "documents" / "scan-two-pages.tiff") as scan:
        assert (scan.format, scan.n_frames, scan.mode) == ("TIFF", 2, "1")


def test_the_truncated_picture_has_its_header():
    """Its size can be read, its pixels cannot."""
    with Image.open(SAMPLES / "bad" / "truncated.jpg") as picture:
        assert picture.size[0] == 480
        with pytest.raises(OSError, match="truncated"):
            picture.load()


@pytest.mark.parametrize("name", ["empty.jpg", "text-named.jpg"])
def test_what_is_no_picture(name):
    """A name alone makes no picture."""
    with pytest.raises(UnidentifiedImageError):
        Image.open(SAMPLES / "bad" / name)


def test_a_header_may_claim_anything(monkeypatch):
    """A few bytes claim 3.6 gigapixels: Pillow refuses to believe them."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**26)  # the engine, once imported, sets a limit of its own
    path = SAMPLES / "bad" / "claims-60000x60000.png"
    assert path.stat().st_size < 100
    assert path.read_bytes()[16:24] == (60_000).to_bytes(4, "big") * 2
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


@pytest.mark.slow
def test_the_samples_can_be_drawn_again(tmp_path):
    """The script draws every picture anew, with the same sizes, and the same truth."""
    subprocess.run([sys.executable, "-W", "error", SAMPLES / "render.py", "--into", tmp_path], check=True)
    assert pictures(tmp_path) == pictures(SAMPLES)
    for folder in ("receipts", "invoices", "tickets"):
        assert (tmp_path / folder / "truth.jsonl").read_text() == (SAMPLES / folder / "truth.jsonl").read_text()
    drawn, kept = (sorted(path.name for path in (root / "bad").iterdir()) for root in (tmp_path, SAMPLES))
    assert drawn == kept
