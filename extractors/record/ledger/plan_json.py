"""A planned document as JSON text, and back: what the ledger keeps of it until the run has published it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import SecretStr

from extractors.core import Billed, Found, Header, Planned, PlannedPage, Problem, Step
from extractors.core.money import Costs
from extractors.core.tiles import Size

Json = dict[str, Any]  # Any: as JSON has it


def dumped(planned: Planned) -> str:
    """The plan as JSON, field by field."""
    return orjson.dumps(planned, default=_plain).decode()


def loaded(text: str) -> Planned:
    """The plan that `dumped` wrote. Raises ValueError or KeyError for one of another version."""
    plan: Json = orjson.loads(text)
    return Planned(plan["document"], tuple(_page(each) for each in plan["pages"]), plan["tries"], plan["manifest"])


def _plain(value: object) -> object:
    if isinstance(value, Size):
        return list(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, SecretStr):
        return None  # a signature does not outlive its process
    raise TypeError(f"{type(value).__name__} has no place in a plan")


def _page(page: Json) -> PlannedPage:
    costs = (
        None if page["costs"][name] is None else Decimal(page["costs"][name]) for name in ("low", "expected", "high")
    )
    ladder = tuple(Step(each["rung"], Size(*each["size"]), each["tokens"]) for each in page["ladder"])
    return PlannedPage(_billed(page["billed"]), page["action"], page["reason"], ladder, Costs(*costs))


def _billed(billed: Json) -> Billed:
    header = billed["header"]
    if header is not None:
        header = Header(**header | {"size": Size(*header["size"])})
    return Billed(
        _found(billed["found"]),
        header,
        billed["tokens_formula"],
        billed["tokens_table"],
        _problem(billed["problem"]),
        billed["note"],
    )


def _found(found: Json) -> Found:
    modified = found["modified"] and datetime.fromisoformat(found["modified"])
    return Found(**found | {"modified": modified, "problem": _problem(found["problem"])})


def _problem(problem: Json | None) -> Problem | None:
    return None if problem is None else Problem(**problem)
