"""The sample images: each matches its description in the README, and the schemas accept the truth beside it."""

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


def read_truth(folder):
    """Read the truth of a folder's images, line by line."""
    return [json.loads(line) for line in (SAMPLES / folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


def read_sizes(root):
    """Read the size of every valid image below a folder, by its relative name."""
    sizes = {}
    for path in sorted(root.rglob("*")):
        if path.suffix in PICTURES and path.parent.name != "bad":
            with Image.open(path) as picture:
                sizes[path.relative_to(root).as_posix()] = picture.size
    return sizes


TRUTHS = [pytest.param(Receipt, line, id=line["image"]) for line in read_truth("receipts")]
TRUTHS += [pytest.param(Invoice, line, id=line["image"]) for line in read_truth("invoices")]


def test_samples_are_under_6_mb_in_total():
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 6_000_000


@pytest.mark.parametrize("folder", ["receipts", "invoices", "tickets"])
def test_each_image_has_one_line_of_truth(folder):
    """No line lacks its image."""
    images = sorted(path.name for path in (SAMPLES / folder).iterdir() if path.suffix in PICTURES)
    assert sorted(line["image"] for line in read_truth(folder)) == images


def test_samples_have_at_least_fourteen_receipts():
    assert len(read_truth("receipts")) >= 14


@pytest.mark.parametrize(("model", "line"), TRUTHS)
def test_truth_passes_its_schema_unchanged(model, line):
    """Each line has all fields of the schema and no others."""
    fields = {name: value for name, value in line.items() if name != "image"}
    assert list(fields) == list(model.model_fields)
    document = model.model_validate(fields)
    assert document.total == Decimal(line["total"])
    assert document.model_dump(mode="json") == fields


@pytest.mark.parametrize(("name", "form", "mode", "size"), RECEIPTS)
def test_sample_has_its_format_mode_and_size(name, form, mode, size):
    with Image.open(SAMPLES / "receipts" / name) as picture:
        assert (picture.format, picture.mode, picture.size) == (form, mode, size or picture.size)


def test_phone_photo_has_only_an_orientation_of_6():
    """The file is under a megabyte."""
    path = SAMPLES / "receipts" / "phone-photo-exif6.jpg"
    with Image.open(path) as picture:
        assert dict(picture.getexif()) == {0x0112: 6}
    assert path.stat().st_size < 1_000_000


def test_only_the_phone_photo_has_exif():
    names = [name for name in read_sizes(SAMPLES) if not name.endswith(("exif6.jpg", ".tiff"))]
    names_with_exif = []
    for name in names:
        with Image.open(SAMPLES / name) as picture:
            names_with_exif += [name] if picture.getexif() else []
    assert names_with_exif == []


def test_longest_receipt_has_more_than_forty_items():
    assert max(len(line["line_items"]) for line in read_truth("receipts")) > 40


def test_scanned_document_has_two_pages():
    """The TIFF has two frames: an invoice and its terms."""
    with Image.open(SAMPLES / "documents" / "scan-two-pages.tiff") as scan:
        assert (scan.format, scan.n_frames, scan.mode) == ("TIFF", 2, "1")


def test_truncated_sample_has_a_size_but_no_pixels():
    with Image.open(SAMPLES / "bad" / "truncated.jpg") as picture:
        assert picture.size[0] == 480
        with pytest.raises(OSError, match="truncated"):
            picture.load()


@pytest.mark.parametrize("name", ["empty.jpg", "text-named.jpg"])
def test_sample_without_image_data_cannot_be_opened(name):
    with pytest.raises(UnidentifiedImageError):
        Image.open(SAMPLES / "bad" / name)


def test_sample_that_claims_3_6_gigapixels_is_refused_by_pillow(monkeypatch):
    """The file has fewer than 100 bytes."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**26)  # the engine, once imported, sets a limit of its own
    path = SAMPLES / "bad" / "claims-60000x60000.png"
    assert path.stat().st_size < 100
    assert path.read_bytes()[16:24] == (60_000).to_bytes(4, "big") * 2
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


@pytest.mark.slow
def test_render_script_draws_the_same_samples(tmp_path):
    """Sizes, truth and names of the bad files are the same."""
    subprocess.run([sys.executable, "-W", "error", SAMPLES / "render.py", "--into", tmp_path], check=True)
    assert read_sizes(tmp_path) == read_sizes(SAMPLES)
    for folder in ("receipts", "invoices", "tickets"):
        assert (tmp_path / folder / "truth.jsonl").read_text() == (SAMPLES / folder / "truth.jsonl").read_text()
    rendered_names, sample_names = (
        sorted(path.name for path in (root / "bad").iterdir()) for root in (tmp_path, SAMPLES)
    )
    assert rendered_names == sample_names
