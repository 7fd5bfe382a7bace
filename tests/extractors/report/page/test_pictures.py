"""page.pictures: thumbnails of the documents' first pages, or the reason why a document has no thumbnail."""

import base64
import io
import os

import pytest
from PIL import Image

from extractors.report.page.pictures import LARGE_SIDE, THUMBNAIL_SIDE, PictureReader, PictureSize, PictureSource


@pytest.fixture
def photo(tmp_path):
    """A photo with EXIF orientation 6: upright, its left half is red and its right half is blue."""
    image = Image.new("RGB", (600, 400), "blue")
    image.paste("red", (0, 200, 600, 400))  # the lower half of the file; orientation 6 turns it to the left
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "photo.jpg"
    image.save(path, exif=exif)
    return path


def build_source(path, width, height, orientation=1, kind="JPEG"):
    """The file as a row of the table `images` describes it."""
    status = path.stat()
    version = f"{status.st_size}-{status.st_mtime_ns}"
    return PictureSource(str(path), None, version, status.st_size, kind, width, height, orientation)


def read_pixels(picture):
    """Decodes the image in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(picture.url.partition(",")[2]))).convert("RGB")


def test_pictures_are_rotated_by_exif(photo):
    [picture] = PictureReader().pictures([build_source(photo, 400, 600, 6)])
    image = read_pixels(picture)
    assert image.size == (picture.width, picture.height) == (400, 600)
    assert image.getpixel((50, 300))[0] > 200
    assert image.getpixel((350, 300))[2] > 200


def test_page_of_a_pdf_is_drawn(tmp_path):
    """The page number comes from the document's name."""
    path = tmp_path / "two.pdf"
    Image.new("RGB", (200, 100), "red").save(path, save_all=True, append_images=[Image.new("RGB", (200, 100), "blue")])
    [picture] = PictureReader().pictures([build_source(path, 200, 100, kind="PDF")._replace(page=2)])
    assert picture.reason == ""
    assert read_pixels(picture).getpixel((100, 50))[2] > 200


def test_transparent_pictures_have_a_white_background(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(path)
    [picture] = PictureReader().pictures([build_source(path, 40, 40, kind="PNG")])
    assert min(read_pixels(picture).getpixel((20, 20))) > 250


def test_first_hundred_pictures_are_large_and_all_stay_in_order(tmp_path):
    sources = []
    for number in range(103):
        path = tmp_path / f"{number}.png"
        Image.new("L", (1300, 16), number * 2).save(path, compress_level=0)
        sources.append(build_source(path, 1300, 16, kind="PNG"))
    pictures = list(PictureReader().pictures(sources))
    assert [max(picture.width, picture.height) for picture in pictures] == [LARGE_SIDE] * 100 + [THUMBNAIL_SIDE] * 3
    assert [picture.large for picture in pictures] == [True] * 100 + [False] * 3
    shades = [read_pixels(picture).getpixel((5, 0))[0] for picture in pictures]
    assert all(abs(shade - 2 * number) < 12 for number, shade in enumerate(shades))


def test_changed_missing_and_broken_files_have_a_reason(tmp_path, photo):
    """A changed file is never shown, because other bytes were read."""
    changed = build_source(photo, 400, 600, 6)
    os.utime(photo, ns=(1, 1))
    missing, broken = build_source(photo, 400, 600)._replace(uri=str(tmp_path / "gone.jpg")), tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    sources = [changed, missing, build_source(broken, 10, 10), build_source(photo, None, None), None]
    pictures = list(PictureReader().pictures(sources))
    assert [picture.url for picture in pictures] == [""] * 5
    words = ["has changed", "is missing", "not an image", "could not be opened", "could not be opened"]
    assert [word in picture.reason for word, picture in zip(words, pictures, strict=True)] == [True] * 5


def test_pictures_after_the_time_limit_are_left_out(photo):
    [picture] = PictureReader(seconds=-1).pictures([build_source(photo, 400, 600, 6)])
    assert picture.url == ""
    assert "in time" in picture.reason


def test_pictures_of_2000_documents_fit_into_9_megabytes():
    """Base64 adds a third to their size."""
    sizes = [PictureSize.of(place, 2000) for place in range(2000)]
    assert sum(size.most_bytes for size in sizes) * 4 / 3 < 9_000_000
