"""Changes to values of runs."""

from dataclasses import fields, replace

from extractors.core import Fingerprint

PARTS = {each.name for each in fields(Fingerprint)}


def vary(run_info, **changes):
    """A copy of the run with these fields changed, its own or those of its fingerprint."""
    inner = {name: value for name, value in changes.items() if name in PARTS}
    outer = {name: value for name, value in changes.items() if name not in PARTS}
    return replace(run_info, fingerprint=replace(run_info.fingerprint, **inner), **outer)
