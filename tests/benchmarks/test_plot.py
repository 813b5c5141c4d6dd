"""The plot is well-formed, and its points lie where they belong."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from benchmarks.training.plot import Point, svg

SVG = "{http://www.w3.org/2000/svg}"


def test_points_lie_by_cost_and_by_what_they_buy_with_their_names_beside():
    points = [Point("quick & cheap", 20.0, 0.43), Point("best", 300.0, 0.41)]
    drawn = ET.fromstring(svg(points, title="t", x_axis="µs", y_axis="RMSE"))
    cheap, dear = ({k: float(c.get(k)) for k in ("cx", "cy")} for c in drawn.iter(f"{SVG}circle"))
    assert cheap["cx"] < dear["cx"]
    assert cheap["cy"] < dear["cy"]  # a lower loss lies lower
    assert "quick & cheap" in [text.text for text in drawn.iter(f"{SVG}text")]


def test_a_single_point_has_a_plot_of_its_own():
    drawn = ET.fromstring(svg([Point("only", 10.0, 0.5)], title="t", x_axis="x", y_axis="y"))
    (circle,) = drawn.iter(f"{SVG}circle")
    assert 0 < float(circle.get("cx")) < 640
    assert 0 < float(circle.get("cy")) < 360
