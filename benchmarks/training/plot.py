"""A plot of points in SVG, for the docs: what is bought against what it costs, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 130, 40, 50
_INK, _GRID, _POINT = "#333", "#ddd", "#0b6"


class Point(NamedTuple):
    """A point and its name."""

    name: str
    x: float
    y: float


def svg(points: Sequence[Point], *, title: str, x_axis: str, y_axis: str) -> str:
    """The plot; ``x`` is positive and its axis logarithmic.

    Args:
        points: at least one.
        title: above the plot.
        x_axis: what ``x`` is, and its unit.
        y_axis: likewise.
    """
    low, high = math.floor(math.log10(min(p.x for p in points))), math.ceil(math.log10(max(p.x for p in points)))
    high = max(high, low + 1)
    ticks = _ticks(min(p.y for p in points), max(p.y for p in points))

    def across(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(x) - low) / (high - low)

    def down(y: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (ticks[-1] - y) / (ticks[-1] - ticks[0])

    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 20, title, size=14),
        _text((_LEFT + right) / 2, _HEIGHT - 10, x_axis, anchor="middle"),
        _text(_LEFT, _TOP - 6, y_axis),
    ]
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{_GRID}"/>')
        parts.append(_text(x, bottom + 16, f"{10.0**power:g}", anchor="middle"))
    for tick in ticks:
        y = down(tick)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{tick:.3f}", anchor="end"))
    for point in points:
        x, y = across(point.x), down(point.y)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_POINT}"/>')
        parts.append(_text(x + 9, y + 4, point.name))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers around a range."""
    span = high - low or abs(high) or 1.0
    step = min((10.0**power * unit for power in range(-9, 10) for unit in (1, 2, 5)), key=lambda s: abs(span / s - 4))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{_INK}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
    )
