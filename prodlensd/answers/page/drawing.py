"""The charts of a page: Vega-Lite specs as plain dicts, drawn as SVG without script or style.

No text of a log is in a spec: a model is the number of its colour, and the page names it beside the
chart. Colours are variables of the page's style sheet, which knows light and dark.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

COLOURS: Final = 10
#: The colour of what has none of its own.
REST: Final = COLOURS
_WIDE: Final = (1080, 260)
_NARROW: Final = (400, 230)
_SMALL: Final = (430, 200)
_FONT: Final = "system-ui, sans-serif"
_AXIS: Final = {
    "labelColor": "var(--dim)",
    "labelFontSize": 11,
    "tickColor": "var(--line)",
    "domainColor": "var(--line)",
    "gridColor": "var(--line)",
    "title": None,
}
_CONFIG: Final = {
    "background": None,
    "font": _FONT,
    "aria": False,
    "axis": _AXIS,
    "view": {"stroke": None},
}
_SIZE: Final = re.compile(r'(<svg [^>]*?)width="[\d.]+" height="[\d.]+" ')


def colours(names: Sequence[str | None]) -> dict[str | None, int]:
    """The number of each model's colour, for the first of these names, dear ones first.

    It follows from the name alone, so a model looks the same on every page; only where two on one
    page would look alike, the cheaper one takes the next colour that is free.
    """
    taken: dict[int, str | None] = {}
    for name in names[:COLOURS]:
        slot = zlib.crc32((name or "").encode()) % COLOURS
        while slot in taken:
            slot = (slot + 1) % COLOURS
        taken[slot] = name
    return {name: slot for slot, name in taken.items()}


class Bar(NamedTuple):
    """A part of a stacked bar: which bar, the number of its colour, and how high it is."""

    at: str
    colour: int
    value: float


def stacked(at: Sequence[str], bars: Sequence[Bar], unit: str) -> tuple[str, str]:
    """Bars of parts, wide and narrow; `unit` is how the axis shows a value: a format of d3's."""
    used = sorted({bar.colour for bar in bars})
    order = {colour: place for place, colour in enumerate(used)}
    values = [
        {"at": bar.at, "part": bar.colour, "order": order[bar.colour], "value": bar.value}
        for bar in bars
    ]
    fill = {"field": "part", "type": "nominal", "scale": _colours(used), "legend": None}
    encoding = {
        "y": {"field": "value", "type": "quantitative", "axis": {"format": unit, "tickCount": 5}},
        "fill": fill,
        "order": {"field": "order", "type": "quantitative"},
    }
    return _draw(at, values, "bar", encoding, _WIDE, 12), _draw(
        at, values, "bar", encoding, _NARROW, 5
    )


def lines(at: Sequence[str], of: Mapping[str, Sequence[float | None]], unit: str) -> str:
    """Lines over time, broken where there is no value; the names are those of colours."""
    values = [
        {"at": place, "line": name, "value": value}
        for name, series in of.items()
        for place, value in zip(at, series, strict=True)
    ]
    scale = {"domain": list(of), "range": [f"var(--{name})" for name in of]}
    encoding = {
        "y": {"field": "value", "type": "quantitative", "axis": {"format": unit, "tickCount": 4}},
        "color": {"field": "line", "type": "nominal", "scale": scale, "legend": None},
    }
    mark = {"type": "line", "point": {"size": 16, "filled": True}, "strokeWidth": 2}
    return _draw(at, values, mark, encoding, _SMALL, 5)


def heat(rows: Sequence[str], columns: Sequence[str], counts: Mapping[tuple[str, str], int]) -> str:
    """A square for each row and column, the darker the more there is."""
    values = [
        {"row": row, "column": column, "count": counts.get((row, column), 0)}
        for row in rows
        for column in columns
    ]
    shown = [*columns[::3]]
    opacity = {"field": "count", "type": "quantitative", "legend": None}
    spec = {
        "mark": {"type": "rect", "fill": "var(--heat)", "cornerRadius": 2},
        "encoding": {
            "x": _band("column", columns, {"values": shown, "labelAngle": 0}),
            "y": _band("row", rows, {}),
            "fillOpacity": opacity | {"scale": {"domainMin": 0, "range": [0.07, 1]}},
        },
    }
    return _svg(spec, values, _SMALL)


def _band(field: str, domain: Sequence[str], axis: Mapping[str, Any]) -> dict[str, Any]:
    look = {"grid": False, "ticks": False, "domain": False, **axis}
    scale = {"domain": list(domain), "paddingInner": 0.12, "paddingOuter": 0}
    return {"field": field, "type": "ordinal", "scale": scale, "axis": look}


def _colours(used: Sequence[int]) -> dict[str, Any]:
    return {"domain": list(used), "range": [f"var(--c{colour})" for colour in used]}


def _draw(
    at: Sequence[str],
    values: Sequence[Mapping[str, Any]],
    mark: str | Mapping[str, Any],
    encoding: Mapping[str, Any],
    size: tuple[int, int],
    labels: int,
) -> str:
    every = -(-len(at) // labels)
    x = {
        "field": "at",
        "type": "ordinal",
        "scale": {"domain": list(at), "paddingInner": 0.25},
        "axis": {"values": [*at[::every]], "labelAngle": 0, "grid": False},
    }
    return _svg({"mark": mark, "encoding": {"x": x, **encoding}}, values, size)


def _svg(
    spec: Mapping[str, Any], values: Sequence[Mapping[str, Any]], size: tuple[int, int]
) -> str:
    """The drawing, as large as there is room for it."""
    import vl_convert  # noqa: PLC0415 - heavy, and of the extra `html`

    width, height = size
    whole = {
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 2,
        "data": {"values": list(values)},
        "config": _CONFIG,
        **spec,
    }
    drawn: str = vl_convert.vegalite_to_svg(whole)
    return _SIZE.sub(r'\1aria-hidden="true" focusable="false" ', drawn, count=1)
