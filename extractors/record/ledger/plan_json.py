"""A planned document as JSON text, and back: the ledger keeps it until the run has published the document."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import SecretStr

from extractors.core import BilledPage, Found, Header, LadderStep, Planned, PlannedPage, Problem
from extractors.core.money import Costs
from extractors.core.tiles import Size

Json = dict[str, Any]  # Any: as JSON has it


def dump_plan(planned: Planned) -> str:
    """The plan as JSON text."""
    return orjson.dumps(planned, default=_to_json).decode()


def load_plan(text: str) -> Planned:
    """The plan that `dump_plan` wrote. Raises ValueError, KeyError or TypeError for one of another version."""
    plan: Json = orjson.loads(text)
    return Planned(plan["document"], tuple(_load_page(each) for each in plan["pages"]), plan["tries"], plan["manifest"])


def _to_json(value: object) -> object:
    if isinstance(value, Size):
        return list(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, SecretStr):
        return None  # a signed URL or a password is not stored
    raise TypeError(f"a plan cannot contain a {type(value).__name__}")


def _load_page(page: Json) -> PlannedPage:
    costs = (
        None if page["costs"][name] is None else Decimal(page["costs"][name]) for name in ("low", "expected", "high")
    )
    ladder = tuple(LadderStep(each["rung"], Size(*each["size"]), each["tokens"]) for each in page["ladder"])
    rescue = page.get("rescue", False)  # a plan of an earlier version has none
    return PlannedPage(_load_billed(page["billed"]), page["action"], page["reason"], ladder, Costs(*costs), rescue)


def _load_billed(billed: Json) -> BilledPage:
    header = billed["header"]
    if header is not None:
        header = Header(**header | {"size": Size(*header["size"])})
    return BilledPage(
        _load_found(billed["found"]),
        header,
        billed["tokens_formula"],
        billed["tokens_table"],
        _load_problem(billed["problem"]),
        billed["note"],
    )


def _load_found(found: Json) -> Found:
    modified = found["modified"] and datetime.fromisoformat(found["modified"])
    kept_in_memory = {"address": None, "passwords": ()}
    return Found(**found | kept_in_memory | {"modified": modified, "problem": _load_problem(found["problem"])})


def _load_problem(problem: Json | None) -> Problem | None:
    return None if problem is None else Problem(**problem)
