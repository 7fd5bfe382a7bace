"""check_source: a path that cannot be a source is refused before any import that it needs."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.scan import check_source
from extractors.scan.selection import Selection


def test_check_source_refuses_a_folder_without_images(tmp_path):
    """It searches at any depth, and the message lists what it found instead."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=r"holds no images: looked for jpg, .*; passed over: 1 \.txt"):
        check_source(str(tmp_path))


@pytest.mark.parametrize("name", ["a.JPG", "deep/er/b.png"])
def test_check_source_accepts_a_folder_with_an_image(tmp_path, name):
    """The image may be at any depth; the selection is not applied."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    check_source(str(tmp_path))
    check_source(str(tmp_path), selection=Selection(("*.gif",)))


@pytest.mark.parametrize("source", ["s3://bucket/in", "list.csv"])
def test_check_source_does_not_read_buckets_and_manifests(source):
    check_source(source)
