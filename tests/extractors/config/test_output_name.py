"""output_name.py: the canonical name of an output."""

import sys
from pathlib import Path
from subprocess import run

import pytest

from extractors.config.output_name import name_output
from extractors.core.errors import ConfigurationError


def test_name_output_makes_folders_absolute_and_strips_a_buckets_slash(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert name_output("out") == str(tmp_path / "out")
    assert name_output("~/out") == str(Path("/home/someone/out"))
    assert name_output("s3://bucket/tables/") == "s3://bucket/tables"


def test_file_is_refused_as_output(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="it is a file, name a folder"):
        name_output(str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["s3:/bucket/tables", "GS:/bucket", "az:/container/x"])
def test_bucket_url_with_one_slash_is_refused(name, tmp_path, monkeypatch):
    """The URL of a bucket as pathlib writes it: the tables would be written to a local folder `s3:`."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="use a folder, or s3://"):
        name_output(name)


def test_configuration_imports_neither_sqlalchemy_nor_polars():
    """An invalid flag is reported at once: both take longer to import than everything else."""
    code = "import sys, extractors.config.run_config; print({'sqlalchemy', 'polars'} & sys.modules.keys())"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
