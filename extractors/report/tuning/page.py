"""The page of a tuning, `reports/tune-<run>.html`: one file that loads nothing and runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from extractors.core.errors import ConfigurationError
from extractors.record.output.base import OUTPUT_ERRORS
from extractors.report import page
from extractors.report.page.render import make_environment, make_policy
from extractors.report.tuning import SIGNALS
from extractors.report.tuning.charts import draw_charts
from extractors.report.tuning.review_costs import format_usd
from extractors.report.tuning.witnessed import TITLE

if TYPE_CHECKING:
    from extractors.record.output.base import Output
    from extractors.report.tuning import TuningView

STYLE = Path(page.__file__).with_name("page.css")
TEMPLATE = Path(__file__).with_name("tuning.html")


def write_page(output: Output, view: TuningView) -> str:
    """Writes the page; returns its full path. Raises ConfigurationError if it cannot be written."""
    key = f"reports/tune-{view.run}.html"
    try:
        output.write_page(key, render(view))
    except OUTPUT_ERRORS as error:
        raise ConfigurationError(f"output {str(output)!r} {output.describe_error(error, 'written')}") from error
    return output.full_name(key)


def render(view: TuningView) -> str:
    """The complete HTML file. Every value is escaped."""
    style = STYLE.read_text(encoding="utf-8")
    environment = make_environment()
    environment.filters["usd"] = format_usd
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        view=view,
        signals=SIGNALS,
        witnessed=TITLE,
        charts=draw_charts(view),
        policy=make_policy(style, ""),
        style=Markup(style),  # noqa: S704 - a file of this package
    )
