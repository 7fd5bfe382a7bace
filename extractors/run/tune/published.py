"""Published rows beside the truth (`--from-rows`): the accuracy of what was published, without a call.

No ladder is tried. Confidences are those that the rows have; the certificate is of these rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from extractors.core.errors import ConfigurationError
from extractors.core.evidence import FieldEvidence
from extractors.core.plain_values import canonical_text
from extractors.record.output import open_output
from extractors.record.tables.tuning import write_comparisons
from extractors.report.rows import RowFilter, open_rows
from extractors.report.tuning import TuningView
from extractors.run.tune.analysis import list_comparisons, view_rung
from extractors.run.tune.certificate import certify_published
from extractors.run.tune.choices import Publication
from extractors.run.tune.dollars import Dollars, explain_unpriced, find_cheapest, iter_thresholds, sort_published
from extractors.run.tune.field_comparers import FieldComparer, build_comparers, compare_document
from extractors.run.tune.measurements import Reading
from extractors.run.tune.ranking import rank_published
from extractors.run.tune.view import view_certificate, view_confidence, view_dollars

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from extractors.config.run_config import RunConfig
    from extractors.record.tables.rows import Row
    from extractors.report.rows import ResultRows
    from extractors.report.tuning.review_costs import DollarsView, ReviewPrices
    from extractors.run.tune.labels import Label, Labels

NAME = "as published"
_COLUMNS = ("_document", "_model_requested", "_image_tokens_estimated", "_cost_usd", "_evidence")


def score_published(config: RunConfig, labels: Labels, target: float, prices: ReviewPrices | None = None) -> TuningView:
    """Compares the current rows of labelled documents, and writes the comparisons.

    Raises ConfigurationError where no labelled document has a row.
    """
    output, run_info = open_output(config.output), config.run_info(None)
    rows = open_rows(output, config.schema.name, RowFilter())
    comparers = build_comparers(config.schema.model, labels.fields)
    by_document = {label.document.document: label for label in labels.labelled}
    found = list(_read_rows(rows, labels.fields, by_document))
    if not found:
        raise ConfigurationError(f"no labelled document has a row of {config.schema.name} in {output}: run it first")
    readings = [_build_reading(row, by_document[str(row["_document"])], comparers) for row in found]
    published = [Publication(each, each.image_tokens, each.cost_usd, _confide(each, None)) for each in readings]
    unpriced = explain_unpriced(readings) if prices else ""
    comparisons = list_comparisons(run_info, labels, readings, _confide)
    return TuningView(
        run=run_info.run,
        schema=run_info.schema,
        model=", ".join(sorted({str(row["_model_requested"]) for row in found})),
        images=len(found),
        fields=labels.fields,
        rungs=[view_rung(NAME, labels.fields, readings)],
        choices=[],
        recommended=None,
        certificate=view_certificate(certify_published(published, target)),
        confidence={name: view_confidence(each) for name, each in rank_published(labels.fields, published).items()},
        ablation={},
        unlooked=(),
        files={"comparisons": write_comparisons(output, run_info.run, comparisons)},
        warnings=[*_warn_of_absent(by_document, found), *filter(None, [unpriced])],
        published=True,
        dollars=_weigh(published, prices) if prices and not unpriced else None,
    )


def _weigh(published: list[Publication], prices: ReviewPrices) -> DollarsView:
    """What the rows cost at the cheapest threshold of review."""
    documents = sort_published(published)
    return view_dollars(Dollars(find_cheapest(documents, prices), tuple(iter_thresholds(documents, prices))))


def _read_rows(rows: ResultRows, fields: list[str], by_document: Mapping[str, Label]) -> Iterator[Row]:
    """The current rows of these documents, with the labelled fields; columns that files of old do not have are null."""
    names = [name for name in (*_COLUMNS, *fields) if name in rows.columns]
    for frame in rows.frames(names):
        yield from (row for row in frame.iter_rows(named=True) if row["_document"] in by_document)


def _build_reading(row: Row, label: Label, comparers: Mapping[str, FieldComparer]) -> Reading:
    document = label.document.document
    evidence = cast("list[dict[str, object]]", row.get("_evidence") or [])
    return Reading(
        document=document,
        rung=0,
        call=document,
        accepted=True,
        image_tokens=cast("int", row["_image_tokens_estimated"]),
        cost_usd=cast("Decimal | None", row["_cost_usd"]),
        comparisons=compare_document(comparers, row, label.cells, document, 0),
        evidence=tuple(map(_read_evidence, evidence)),
        answers={name: canonical_text(row.get(name)) for name in comparers},
        draw=label.draw,
    )


def _read_evidence(cell: Mapping[str, object]) -> FieldEvidence:
    return FieldEvidence(str(cell["field"]), confidence=cast("float | None", cell["confidence"]))


def _confide(reading: Reading, lower: Reading | None) -> dict[str, float | None]:  # noqa: ARG001 - as every scorer
    """The confidences with which the row was published."""
    return {each.field: each.confidence for each in reading.evidence}


def _warn_of_absent(by_document: Mapping[str, Label], found: list[Row]) -> Iterator[str]:
    absent = by_document.keys() - {row["_document"] for row in found}
    if absent:
        yield f"{len(absent):,} labelled documents have no published row and are not scored, {min(absent)} among them"
