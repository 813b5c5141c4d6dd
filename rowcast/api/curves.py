"""Learning curves as a picture that needs no library: SVG, which a notebook shows and a browser opens."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rowcast.models.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import polars as pl

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 40
_COLOURS = {"training": "#8a96a3", "validation": "#2f7ebd", "best": "#d9772b"}
"""As in the report."""
_TICKS = 5
"""Of an axis, about."""
_HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'


class Plot:
    """A picture. A notebook shows it; :meth:`save` writes it.

    Args:
        svg: the picture, whose lines of text have the colour of the page around it.
        told: what it shows, in a few words.
    """

    def __init__(self, svg: str, told: str) -> None:
        self.svg = svg
        self._told = told

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture.

        Args:
            path: of a file, ``.svg`` or ``.html``; both stand alone, the page in light and dark colours.

        Returns:
            its absolute path.

        Raises:
            ConfigError: the file has another extension.
        """
        out = Path(path).absolute()
        if out.suffix == ".svg":
            text = self.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
            text = text.replace("<title>", f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/><title>', 1)
        elif out.suffix == ".html":
            text = f"{_HEAD}<title>Learning curves</title>{self.svg}</html>"
        else:
            raise ConfigError(f"path must be a file of .svg or .html, got {os.fspath(path)!r}")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, "utf-8")
        return out

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<rowcast plot of {self._told}; save() writes it>"


def learning_curves(history: pl.DataFrame) -> Plot:
    """Training and validation loss at each look, and the look whose weights were kept.

    Args:
        history: see :mod:`rowcast.training.fit.history`. Of several fits (``fit.seeds``) the looks follow one another.

    Raises:
        ModelError: it is empty.
    """
    if history.is_empty():
        raise ModelError("the model keeps no history: it was published before histories were kept; fit it anew")
    losses = {"training": history["train_loss"].to_list(), "validation": history["validation_loss"].to_list()}
    looks = history.height
    unit = "epoch" if history["epoch"].to_list() == list(range(1, looks + 1)) else "look"
    best = max((i for i, is_best in enumerate(history["best"]) if is_best), default=None)
    low, high = _span([value for values in losses.values() for value in values if math.isfinite(value)])
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x(look: float) -> float:
        share = (look - 1) / (looks - 1) if looks > 1 else 0.5
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(loss: float) -> float:
        return round(_HEIGHT - _BOTTOM - (loss - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = []
    for tick in ticks:
        at = y(tick)
        parts.append(f'<path d="M{_LEFT} {at}H{_WIDTH - _RIGHT}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(_text(_LEFT - 8, at + 4, f"{tick:.10g}", "end"))
    marked = sorted({min(max(round(tick), 1), looks) for tick in _ticks(1, max(looks, 2))})
    parts += [_text(x(look), _HEIGHT - _BOTTOM + 18, str(look), "middle") for look in marked]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, unit, "middle"))
    for name, values in losses.items():
        points = [f"{x(i)} {y(value)}" for i, value in enumerate(values, 1) if math.isfinite(value)]
        style = f'fill="none" stroke="{_COLOURS[name]}" stroke-width="2" stroke-linejoin="round"'
        parts.append(f'<path class="{name}" d="M{"L".join(points)}" {style}/>' if points else "")
    key = {name: f"{name} loss" for name in losses}
    if best is not None and math.isfinite(losses["validation"][best]):
        value = losses["validation"][best]
        key["best"] = f"best, {unit} {best + 1}: {value:.4g}"
        where = f'cx="{x(best + 1)}" cy="{y(value)}" r="4.5"'
        parts.append(f'<circle class="best" {where} fill="{_COLOURS["best"]}"><title>{key["best"]}</title></circle>')
    left = _LEFT
    for name, said in key.items():
        parts.append(f'<rect x="{left}" y="12" width="12" height="4" fill="{_COLOURS[name]}"/>')
        parts.append(_text(left + 18, 18, said, "start"))
        left += 40 + 7 * len(said)
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" style="max-width:100%;height:auto" role="img" '
        f'font-family="system-ui,sans-serif" font-size="12" fill="currentColor"><title>Learning curves</title>'
        f"{''.join(parts)}</svg>"
    )
    return Plot(svg, f"{looks:,} look{'s' * (looks != 1)} at the validation rows")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The least and the largest value, apart from one another."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low > 1e-9 * max(abs(low), abs(high), 1e-300):
        return low, high
    return low - max(abs(low) * 0.5, 1e-9), high + max(abs(high) * 0.5, 1e-9)


def _ticks(low: float, high: float) -> list[float]:
    """Round values from one below ``low`` or at it to one above ``high`` or at it."""
    rough = (high - low) / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1.0, 2.0, 5.0, 10.0) if factor * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]
