"""Charts as inline SVG: intervals in rows, lines, points, shares of a bar. Colours are classes of the style sheet.

Geometry without text stretches with the page; where an axis has numbers, the drawing keeps its proportions.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.html.elements import Html, join, tag

WIDTH, HEIGHT = 360, 210  # of a chart with axes, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 24  # margins, for the numbers of the axes
COLOURS = 6  # classes c0, c1, ... of the style sheet
MOST_POINTS = 200  # of a line; more are averaged


class Row(NamedTuple):
    """A value with its interval."""

    label: Html | str
    value: float
    low: float
    high: float
    text: str  # beside the chart
    colour: str = "c0"  # class


class Line(NamedTuple):
    """A line of a chart."""

    name: str
    points_N2: np.ndarray  # x and y
    colour: str
    is_faint: bool = False


def intervals(rows: Sequence[Row], name: str, *, zero: bool = False) -> Html:
    """One value with its interval in each row, on a common axis, which begins at 0 or, with `zero`, includes it."""
    low, high = _range(
        [min(row.low, row.value) for row in rows] + [0], [max(row.high, row.value) for row in rows] + [0]
    )
    found = []
    behind = [_ruled(low, high, 10), *([_upright(_at(0, low, high), 10, "zero")] if zero else [])]
    for row in rows:
        drawn = [*behind, _track(row.value, row.low, row.high, low, high, row.colour)]
        label, value = tag("div", row.label, class_="label"), tag("div", row.text, class_="value")
        found.append(tag("div", label, _stretched(10, *drawn), value, class_="row"))
    return tag("div", *found, _scale(low, high), class_="rows", role="img", aria_label=_said(name, rows))


def grouped(groups: Sequence[tuple[Html | str, Sequence[Row]]], name: str) -> Html:
    """A group of values with intervals in each row; all share one axis that begins at 0."""
    rows = [row for _, group in groups for row in group]
    low, high = _range([0], [row.high for row in rows])
    found = []
    for label, group in groups:
        drawn = [_track(row.value, row.low, row.high, low, high, row.colour, 10 * n) for n, row in enumerate(group)]
        height = 10 * len(group)
        svg = _stretched(height, _ruled(low, high, height), *drawn)
        found.append(tag("div", tag("div", label, class_="label"), svg, class_="row"))
    said = "; ".join(_said(str(label), group) for label, group in groups)
    return tag("div", *found, _scale(low, high), class_="rows groups", role="img", aria_label=f"{name}: {said}")


def legend(names: Sequence[tuple[str, str]]) -> Html:
    """Names and their classes of colour."""
    return tag("p", *(tag("span", tag("i", class_=colour), name) for name, colour in names), class_="legend")


def lines(caption: str, found: Sequence[Line], marks: Sequence[tuple[float, str]] = ()) -> Html:
    """Lines over steps; `marks` are steps with a vertical line and its label."""
    points_N2 = np.concatenate([line.points_N2 for line in found if len(line.points_N2)])
    own = np.concatenate([line.points_N2 for line in found if not line.is_faint])[:, 1]
    places = [*points_N2[:, 0], *(x for x, _ in marks)]
    x_low, x_high = float(min(places)), float(max(places))
    y_low, y_high = _range(*([v] for v in _robust(points_N2[:, 1], own)))
    x_ticks, y_ticks = ticks(x_low, x_high, 4), ticks(y_low, y_high, 4)
    drawn = [*_axes(x_ticks, y_ticks, (x_low, x_high), (y_low, y_high))]
    for x, label in marks:
        place = _x(x, x_low, x_high)
        is_right = place > WIDTH * 0.7
        drawn.append(tag("line", class_="mark", x1=_n(place), x2=_n(place), y1=TOP, y2=HEIGHT - BOTTOM))
        anchor = "end" if is_right else "start"
        drawn.append(tag("text", label, x=_n(place + (-4 if is_right else 4)), y=TOP + 8, text_anchor=anchor))
    for line in found:
        points = _thinned(line.points_N2)
        path = "L".join(f"{_n(_x(x, x_low, x_high))} {_n(_y(y, y_low, y_high))}" for x, y in points)
        style = f"line {line.colour}{' faint' if line.is_faint else ''}"
        drawn.append(tag("path", d=f"M{path}", class_=style))
        if len(points) <= 30 and not line.is_faint:
            dots = "".join(f"M{_n(_x(x, x_low, x_high))} {_n(_y(y, y_low, y_high))}h0" for x, y in points)
            drawn.append(tag("path", d=dots, class_=f"dots {line.colour}"))
    names = ", ".join(f"{line.name} {line.points_N2[-1, 1]:.4g} at the end" for line in found if not line.is_faint)
    return _figure(caption, _svg(HEIGHT, f"{caption}: {names}", *drawn))


def points(caption: str, groups: Sequence[tuple[str, np.ndarray, str]]) -> Html:
    """Points in two dimensions, by group: its name, points [N, 2] and class of colour."""
    every_N2 = np.concatenate([points_N2 for _, points_N2, _ in groups])
    size = 320
    low_2, high_2 = every_N2.min(axis=0), every_N2.max(axis=0)
    scale = (size - 16) / max(float((high_2 - low_2).max()), 1e-12)
    middle_2 = (low_2 + high_2) / 2
    drawn = []
    for _, points_N2, colour in groups:
        at_N2 = (points_N2 - middle_2) * scale
        path = "".join(f"M{WIDTH / 2 + x:.0f} {size / 2 - y:.0f}h0" for x, y in at_N2)
        drawn.append(tag("path", d=path, class_=f"cloud {colour}"))
    names = ", ".join(f"{len(points_N2):,} of {name}" for name, points_N2, _ in groups)
    return _figure(caption, _svg(size, f"{caption}: {names}", *drawn))


def shares(parts: Sequence[tuple[str, float]], name: str) -> Html:
    """A bar that is divided into parts."""
    total, start, drawn = sum(value for _, value in parts) or 1.0, 0.0, []
    for number, (_, value) in enumerate(parts):
        width = 100 * value / total
        drawn.append(tag("rect", x=_n(start), y=0, width=_n(width), height=10, class_=f"c{number % COLOURS}"))
        start += width
    said = ", ".join(f"{part} {value / total:.0%}" for part, value in parts)
    return tag("div", _stretched(10, *drawn), class_="bar", role="img", aria_label=f"{name}: {said}")


def ticks(low: float, high: float, number: int) -> list[float]:
    """At most about `number` round values in the range."""
    rough = max((high - low) / number, 1e-12)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """The number of a tick."""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.4g}"


def _axes(
    x_ticks: Sequence[float], y_ticks: Sequence[float], x: tuple[float, float], y: tuple[float, float]
) -> list[Html]:
    found = []
    for value in y_ticks:
        place = _y(value, *y)
        found.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=_n(place), y2=_n(place)))
        found.append(tag("text", short(value), x=LEFT - 6, y=_n(place + 3.5), text_anchor="end"))
    for value in x_ticks:
        place = _x(value, *x)
        anchor = "end" if place > WIDTH - RIGHT - 12 else "middle"
        found.append(tag("text", short(value), x=_n(place), y=HEIGHT - 8, text_anchor=anchor))
    return found


def _track(value: float, low: float, high: float, start: float, end: float, colour: str, top: int = 0) -> Html:
    """An interval and its value, in a row of height 10."""
    place = _at(value, start, end)
    whisker = _segment(_at(low, start, end), top + 5, _at(high, start, end), top + 5, f"whisker {colour}")
    return join([whisker, _segment(place, top + 5, place, top + 5, f"dot {colour}")])


def _ruled(low: float, high: float, height: int) -> Html:
    """A line for each tick of the scale."""
    return join(_upright(_at(value, low, high), height, "ruled") for value in ticks(low, high, 5))


def _scale(low: float, high: float) -> Html:
    """The numbers below rows of intervals."""
    numbers = (tag("span", short(value), style=f"left:{_n(_at(value, low, high))}%") for value in ticks(low, high, 5))
    return tag("div", tag("div", class_="label"), tag("div", *numbers, class_="scale"), class_="row")


def _upright(place: float, height: int, style: str) -> Html:
    return _segment(place, 0, place, height, style)


def _segment(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    return tag("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), class_=style)


def _stretched(height: int, *drawn: Html) -> Html:
    """A drawing 100 wide that fills its place; strokes and round points keep their width."""
    style = f"height:{height * 2}px"
    return tag("svg", *drawn, viewBox=f"0 0 100 {height}", preserveAspectRatio="none", style=style, aria_hidden="true")


def _svg(height: int, said: str, *drawn: Html) -> Html:
    return tag("svg", *drawn, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=said)


def _figure(caption: str, drawn: Html) -> Html:
    return tag("figure", tag("figcaption", caption), drawn)


def _said(name: str, rows: Sequence[Row]) -> str:
    said = (f"{row.label if not isinstance(row.label, Html) else row.text} {row.value:.4f}" for row in rows)
    return f"{name}: {', '.join(said)}"


def _range(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    low, high = min(lows), max(highs)
    space = 0.05 * (high - low) or 0.05 * abs(high) or 0.01
    return (low - space if low else 0.0), high + space


def _robust(every_N: np.ndarray, own_N: np.ndarray) -> tuple[float, float]:
    """The range of the lines, and of the faint ones beside them but for single points far out."""
    low, high = np.quantile(every_N, [0.01, 0.99])
    return float(min(own_N.min(), low)), float(max(own_N.max(), high))


def _thinned(points_N2: np.ndarray) -> np.ndarray:
    size = -(-len(points_N2) // MOST_POINTS)
    parts = [points_N2[start : start + size].mean(axis=0) for start in range(0, len(points_N2), size)]
    return np.array(parts) if size > 1 else points_N2


def _at(value: float, low: float, high: float) -> float:
    return 1 + 98 * (value - low) / (high - low)


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / max(high - low, 1e-12)


def _y(value: float, low: float, high: float) -> float:
    share = min(1.05, max(-0.05, (value - low) / (high - low)))
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
