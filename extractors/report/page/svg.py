"""Draws figures with matplotlib as inline SVG that a strict policy allows: attributes in place of styles, no fonts.

The figure is the same each time that it is drawn from the same data.
"""

from __future__ import annotations

import re
from io import StringIO
from threading import Lock
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

INK = "#010203"  # stands for the colour of the page's text, light or dark
COLOURS = ("#4a8fc7", "#d9923b", "#5aa878", "#c46060", "#9279bd", "#8a939c")  # read well on light and on dark
WIDTH, HEIGHT = 5.4, 2.7  # inches, of 72 units each
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FONT_SIZE, _SPACE = re.compile(r"[\d.]+px"), re.compile(r">\s+<")
_REFERENCE = re.compile(r"#([^)\"]+)")
_STYLE: dict[RcKeyType, object] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # a folder may be named with dollars
}
_LOCK = Lock()  # matplotlib's settings are those of the process
ET.register_namespace("", _SVG)
ET.register_namespace("xlink", _XLINK)


def draw_svg(title: str, draw: Callable[[list[Axes]], None], columns: int = 1) -> Markup:
    """The figure that `draw` draws on this many axes side by side, as an element of HTML."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and heavy
    from cycler import cycler  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    colours = cycler(color=COLOURS)
    style: dict[RcKeyType, object] = {**_STYLE, "axes.prop_cycle": colours, "svg.hashsalt": title}
    with _LOCK, mpl.rc_context(style):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        draw(list(figure.subplots(1, columns, squeeze=False)[0]))
        buffer = StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - written by matplotlib above
    return Markup(_clean(root, title))  # noqa: S704 - matplotlib escapes what it writes


def _clean(root: ET.Element, title: str) -> str:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    for element in root.iter():
        _move_style(element)
    used = {name for each in root.iter() for value in each.attrib.values() for name in _REFERENCE.findall(value)}
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": title}
    return _SPACE.sub("><", ET.tostring(root, encoding="unicode"))


def _move_style(element: ET.Element) -> None:
    """Makes attributes of the declarations of a style, and gives the page's colour to what is drawn in ink."""
    for declaration in element.attrib.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        size = _FONT_SIZE.search(value)
        if name == "font" and size:
            element.set("font-size", size[0])
        elif name and name not in {"font", "font-family"}:
            element.set(name, value)
    for name in ("fill", "stroke"):
        if element.get(name) == INK:
            element.set(name, "currentColor")
