"""scan/formats.py: extensions of images, and the extras that some of them need."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.scan import formats
from extractors.scan.formats import EXTENSIONS, check_extra, suffix_of


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "jpe", "jfif", "jp2", "tif", "tiff"])
def test_common_extensions_are_images(extension):
    """JPEG and TIFF are known in all spellings, and JPEG 2000."""
    assert extension in EXTENSIONS


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.HEIC", ".heic"),
        ("a.tar.gz", ".gz"),
        ("a", "no extension"),
        (".bashrc", "no extension"),
        ("a.b c", "no extension"),
    ],
)
def test_suffix_of_is_a_lower_case_extension(name, kind):
    """It never contains a part of a name."""
    assert suffix_of(name) == kind


def test_check_extra_names_the_install_command(monkeypatch):
    """A file that needs an extra is refused."""
    monkeypatch.setattr(formats, "MISSING", {".heic": formats.INSTALL_HEIF})
    with pytest.raises(ConfigurationError, match=r"tilewise\[heif\]"):
        check_extra("scans/IMG_1.HEIC")
