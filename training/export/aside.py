"""A model that is refused after its fit is kept aside: the fit is paid for, and one can look at what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rowcast.models.plain_files import write_new

REFUSED_FOLDER = ".refused"
"""In the repository; no model can be called so, and nothing there is served."""


def keep_aside(repository: Path, name: str, files: Mapping[str, bytes], why: str) -> Path:
    """Write the files of a refused model.

    Args:
        repository: the folder of the models.
        name: of the model.
        files: file name to content.
        why: what the gate said, which is written beside them.

    Returns:
        the folder they are in: ``.refused/<name>-<time>``.
    """
    timestamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    folder = repository / REFUSED_FOLDER / f"{name}-{timestamp}"
    folder.mkdir(parents=True)
    for file, content in {**files, "why.txt": f"{why}\n".encode()}.items():
        write_new(folder / file, content)
    return folder.absolute()
