"""What callers send is logged a few times a minute, and then counted."""

from __future__ import annotations

import logging
import time

import pytest

from rowcast.service.middleware.log_limit import LogLimit


class Kept(logging.Handler):
    def __init__(self, limit: LogLimit) -> None:
        super().__init__()
        self.addFilter(limit)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def own_logger(request: pytest.FixtureRequest) -> logging.Logger:
    logger = logging.getLogger(f"limited.{request.node.name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def kept_by(logger: logging.Logger, seconds: float) -> list[str]:
    handler = Kept(LogLimit(per_minute=3, seconds=seconds))
    logger.addHandler(handler)
    return handler.lines


def test_the_first_lines_of_a_kind_are_written_and_the_others_counted(own_logger: logging.Logger) -> None:
    lines = kept_by(own_logger, 0.3)
    for n in range(1000):
        own_logger.warning("refused %d", n)
    assert lines == ["refused 0", "refused 1", "refused 2"]
    time.sleep(0.5)
    assert lines[3:] == ["997 more lines of this kind were left out: refused %d"]
    own_logger.warning("refused %d", 1)
    assert lines[4:] != []


def test_kinds_are_limited_apart_and_by_their_exceptions(own_logger: logging.Logger) -> None:
    lines = kept_by(own_logger, 60)
    for _ in range(10):
        for error in (ValueError("x"), OSError("y")):
            try:
                raise error
            except Exception:
                own_logger.exception("failed with %s", error)
        own_logger.warning("also")
    assert sorted(lines) == ["also"] * 3 + ["failed with x"] * 3 + ["failed with y"] * 3


def test_a_text_that_is_made_of_what_came_evades_no_limit(own_logger: logging.Logger) -> None:
    lines = kept_by(own_logger, 60)
    for n in range(100):
        own_logger.error(f"refused {n}")  # noqa: G004 - as other libraries write it
    assert lines == ["refused 0", "refused 1", "refused 2"]


def test_what_is_no_warning_is_not_limited(own_logger: logging.Logger) -> None:
    lines = kept_by(own_logger, 60)
    for _ in range(100):
        own_logger.info("served")
    assert len(lines) == 100
