"""extra.py: a missing package is named with the command that installs it."""

import sys

import pytest

from extractors.core.errors import ConfigurationError
from extractors.run.tune.extra import check_extra, import_module
from extractors.run.tune.intervals import lower_bound


def test_installed_packages_are_accepted():
    check_extra()
    assert import_module("rapidfuzz.distance").__name__ == "rapidfuzz.distance"


def test_missing_packages_are_named_with_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    with pytest.raises(ConfigurationError, match=r"rapidfuzz and scikit-learn: pip install 'tilewise\[tune\]'"):
        check_extra()


def test_use_of_a_missing_package_is_a_configuration_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ConfigurationError, match=r"needs scipy: pip install 'tilewise\[tune\]'"):
        lower_bound(9, 10)
