"""page.pictures: small copies of the documents' first pages, or the reason why there is none."""

import base64
import io
import os

import pytest
from PIL import Image

from extractors.report.page.pictures import LARGE_SIDE, THUMBNAIL_SIDE, PictureReader, PictureSize, PictureSource


@pytest.fixture
def photo(tmp_path):
    """A photo that is stored lying: its left half, seen upright, is red, and the other one transparent or blue."""
    stored = Image.new("RGB", (600, 400), "blue")
    stored.paste("red", (0, 200, 600, 400))  # the lower half as stored; orientation 6 turns it to the left
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "photo.jpg"
    stored.save(path, exif=exif)
    return path


def source_of(path, width, height, orientation=1, kind="JPEG"):
    """The file as the table `images` describes it."""
    status = path.stat()
    version = f"{status.st_size}-{status.st_mtime_ns}"
    return PictureSource(str(path), None, version, status.st_size, kind, width, height, orientation)


def pixels_of(picture):
    """The picture in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(picture.url.partition(",")[2]))).convert("RGB")


def test_pictures_are_upright(photo):
    """By EXIF, as a viewer shows them."""
    [picture] = PictureReader().pictures([source_of(photo, 400, 600, 6)])
    shown = pixels_of(picture)
    assert shown.size == (picture.width, picture.height) == (400, 600)
    assert shown.getpixel((50, 300))[0] > 200
    assert shown.getpixel((350, 300))[2] > 200


def test_pages_of_a_pdf_are_drawn(tmp_path):
    """The page that the document's name has."""
    path = tmp_path / "two.pdf"
    Image.new("RGB", (200, 100), "red").save(path, save_all=True, append_images=[Image.new("RGB", (200, 100), "blue")])
    [picture] = PictureReader().pictures([source_of(path, 200, 100, kind="PDF")._replace(page=2)])
    assert picture.reason == ""
    assert pixels_of(picture).getpixel((100, 50))[2] > 200


def test_transparent_pictures_are_laid_on_white(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(path)
    [picture] = PictureReader().pictures([source_of(path, 40, 40, kind="PNG")])
    assert min(pixels_of(picture).getpixel((20, 20))) > 250


def test_first_hundred_pictures_are_large_and_all_stay_in_order(tmp_path):
    sources = []
    for number in range(103):
        path = tmp_path / f"{number}.png"
        Image.new("L", (1300, 16), number * 2).save(path, compress_level=0)
        sources.append(source_of(path, 1300, 16, kind="PNG"))
    pictures = list(PictureReader().pictures(sources))
    assert [max(each.width, each.height) for each in pictures] == [LARGE_SIDE] * 100 + [THUMBNAIL_SIDE] * 3
    assert [each.large for each in pictures] == [True] * 100 + [False] * 3
    shades = [pixels_of(each).getpixel((5, 0))[0] for each in pictures]
    assert all(abs(shade - 2 * number) < 12 for number, shade in enumerate(shades))


def test_files_that_changed_or_are_missing_have_a_reason(tmp_path, photo):
    """And never a picture of other bytes than those that were read."""
    known = source_of(photo, 400, 600, 6)
    os.utime(photo, ns=(1, 1))
    gone, broken = source_of(photo, 400, 600)._replace(uri=str(tmp_path / "gone.jpg")), tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    sources = [known, gone, source_of(broken, 10, 10), source_of(photo, None, None), None]
    pictures = list(PictureReader().pictures(sources))
    assert [each.url for each in pictures] == [""] * 5
    words = ["has changed", "is missing", "not an image", "could not be opened", "could not be opened"]
    assert [word in each.reason for word, each in zip(words, pictures, strict=True)] == [True] * 5


def test_pictures_after_the_time_is_up_are_left_out(photo):
    [picture] = PictureReader(seconds=-1).pictures([source_of(photo, 400, 600, 6)])
    assert picture.url == ""
    assert "in time" in picture.reason


def test_pictures_of_two_thousand_documents_stay_within_the_size_of_a_page():
    """As base64, a third more."""
    sizes = [PictureSize.of(place, 2000) for place in range(2000)]
    assert sum(size.most_bytes for size in sizes) * 4 / 3 < 9_000_000
