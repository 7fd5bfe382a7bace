"""check_source: what is no source of images is refused before anything is imported for it."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.scan import check_source
from extractors.scan.selection import Selection


def test_check_source_refuses_a_folder_without_images(tmp_path):
    """At any depth; it says what is there instead."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=r"holds no images: looked for jpg, .*; passed over: 1 \.txt"):
        check_source(str(tmp_path))


@pytest.mark.parametrize("name", ["a.JPG", "deep/er/b.png"])
def test_check_source_accepts_a_folder_with_an_image(tmp_path, name):
    """At any depth; whether it is chosen is not its question."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    check_source(str(tmp_path))
    check_source(str(tmp_path), selection=Selection(("*.gif",)))


@pytest.mark.parametrize("source", ["s3://bucket/in", "list.csv"])
def test_check_source_leaves_buckets_and_manifests_alone(source):
    """They are read where they are needed."""
    check_source(source)
