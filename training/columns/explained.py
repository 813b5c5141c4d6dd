"""How much of the target a partition of the rows tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rowcast.training.columns.levels import level_numbers

if TYPE_CHECKING:
    from rowcast.training.columns.target import Target


def share_explained(cells: NDArray[np.int64], target: Target) -> float:
    """Share of the target's variance that its mean in each cell explains, fitted on odd rows and measured on even ones.

    For classes the target is its one-hot vector, and the share is the Brier skill score.

    Args:
        cells: ``[rows]`` which cell of a partition each row is in.
        target: of the same rows.
    """
    fitted, measured = slice(1, None, 2), slice(0, None, 2)
    n_cells = int(cells.max()) + 1
    if target.task == "regression":
        # Divided by a power of two, which is exact, so that no square overflows or vanishes.
        values = np.ldexp(target.values, -np.frexp(np.abs(target.values).max())[1])
        return _regression_share(cells[fitted], values[fitted], cells[measured], values[measured], n_cells)
    labels = level_numbers(target.values)
    return _class_share(cells[fitted], labels[fitted], cells[measured], labels[measured], n_cells)


def _regression_share(
    cells: NDArray[np.int64],
    values: NDArray[np.float64],
    new_cells: NDArray[np.int64],
    new_values: NDArray[np.float64],
    n_cells: int,
) -> float:
    overall = values.mean()
    rows = np.bincount(cells, minlength=n_cells)
    sums = np.bincount(cells, weights=values - overall, minlength=n_cells)
    means = overall + sums / np.maximum(rows, 1)
    variance = np.mean((new_values - overall) ** 2)
    return float(1.0 - np.mean((new_values - means[new_cells]) ** 2) / variance) if variance > 0 else 0.0


def _class_share(
    cells: NDArray[np.int64],
    labels: NDArray[np.int64],
    new_cells: NDArray[np.int64],
    new_labels: NDArray[np.int64],
    n_cells: int,
) -> float:
    n_classes = int(max(labels.max(), new_labels.max())) + 1
    overall = np.bincount(labels, minlength=n_classes) / len(labels)
    rows = np.bincount(cells, minlength=n_cells)
    # Only the pairs of a cell and a class that occur: a million levels times a thousand classes would fill any memory.
    pairs, counts = np.unique(cells * n_classes + labels, return_counts=True)
    shares = counts / rows[pairs // n_classes]
    squares = np.bincount(pairs // n_classes, weights=shares**2, minlength=n_cells)

    wanted = new_cells * n_classes + new_labels
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    share_of_label = np.where(pairs[place] == wanted, shares[place], 0.0)
    seen = rows[new_cells] > 0
    by_cell = np.where(seen, squares[new_cells] - 2 * share_of_label, overall @ overall - 2 * overall[new_labels])
    base = float(np.mean(overall @ overall - 2 * overall[new_labels] + 1))
    return float(1.0 - np.mean(by_cell + 1) / base) if base > 0 else 0.0
