"""The names of outputs."""

import sys
from pathlib import Path
from subprocess import run

import pytest

from extractors.config.output_name import name_output
from extractors.core.errors import ConfigurationError


def test_folders_are_absolute_and_buckets_have_no_slash_at_their_end(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert name_output("out") == str(tmp_path / "out")
    assert name_output("~/out") == str(Path("/home/someone/out"))
    assert name_output("s3://bucket/tables/") == "s3://bucket/tables"


def test_file_is_no_output(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="it is a file, name a folder"):
        name_output(str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["s3:/bucket/tables", "GS:/bucket", "az:/container/x"])
def test_bucket_with_one_slash_is_no_folder(name, tmp_path, monkeypatch):
    """As pathlib writes a bucket's URL: the tables would be in a local folder `s3:`."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="use a folder, or s3://"):
        name_output(name)


def test_configuration_imports_neither_sqlalchemy_nor_polars():
    """A wrong flag is an error at once: both take longer to import than all the rest."""
    code = "import sys, extractors.config.run_config; print({'sqlalchemy', 'polars'} & sys.modules.keys())"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
