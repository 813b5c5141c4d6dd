"""How a fit shows its progress: in a terminal, in a log, and once."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from rowcast.api.display import display_of
from rowcast.models.errors import ConfigError
from rowcast.training.fit.loop import Progress

ROOT = str(Path(__file__).resolve().parents[1])
LINES = [
    "epoch 1/3: loss 0.5000, validation 0.2500, the best so far; 1.0 s",
    "epoch 2/3: loss 0.5000, validation 0.2500; 2.0 s",
    "epoch 3/3: loss 0.5000, validation 0.2500; 1:02:05",
]


def look(epoch, seconds, *, best=False, ends=True):
    return Progress(epoch, 3, epoch / 3, 0.5, 0.25, 1, learning_rate=0.1, seconds=seconds, best=best, ends_epoch=ends)


def shown(verbose, last_ends=True):
    with display_of(verbose) as display:
        display.report(look(1, 0.5, ends=False))
        display.report(look(1, 1.0, best=True))
        display.report(look(2, 2.0))
        display.report(look(3, 3725.2, ends=last_ends))


@pytest.mark.parametrize(
    ("verbose", "lines"), [("auto", LINES), (True, LINES), (1, LINES), (2, LINES[1:2]), (False, []), (0, [])]
)
def test_where_stderr_is_no_terminal_there_is_a_line_an_epoch(verbose, lines, capsys):
    shown(verbose)
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def test_an_epoch_that_ended_early_has_its_line_too(capsys):
    shown("auto", last_ends=False)
    assert capsys.readouterr().err.splitlines() == LINES


def test_who_has_logging_show_the_lines_sees_them_once(capsys):
    logger = logging.getLogger("rowcast")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        shown("auto")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert capsys.readouterr().err.splitlines() == LINES


def test_a_warning_of_ours_is_printed_by_commands_and_left_to_logging_in_python():
    code = "import rowcast, logging; {}logging.getLogger('rowcast.models').warning('told')"
    main = "from rowcast.cli import main\ntry: main(['--version'])\nexcept SystemExit: "
    for before, told in (("", ""), (main, "told\n")):
        done = subprocess.run([sys.executable, "-c", code.format(before)], capture_output=True, text=True, check=True)
        assert done.stderr == told


def test_a_log_file_has_the_lines_beside_those_on_the_screen(capsys):
    logger, text = logging.getLogger("rowcast.fit"), io.StringIO()
    handler = logging.StreamHandler(text)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        shown("auto")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert text.getvalue().splitlines() == capsys.readouterr().err.splitlines() == LINES


@pytest.mark.parametrize("verbose", ["loud", -1, None, 1.5])
def test_what_is_no_verbosity_is_refused(verbose):
    with pytest.raises(ConfigError, match=r'verbose must be "auto", True, False or a number of epochs, got '):
        shown(verbose)


def test_in_a_terminal_an_error_leaves_nothing_of_the_bar_behind(tmp_path):
    """What a terminal shows: whatever stands after the last time that the line was erased."""
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rowcast", "train", "t.csv", "--target", "z"]
    terminal = {"stdout": theirs, "stderr": theirs, "env": os.environ | {"TERM": "xterm"}}
    done = subprocess.run(command, cwd=tmp_path, check=False, **terminal)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        text += piece
    os.close(ours)
    assert done.returncode == 1
    assert b"reading the table" in text
    left = text.rsplit(b"\x1b[2K", 1)[-1].decode()
    assert left.startswith("rowcast: ")
    assert left.count("\n") == 1


@pytest.mark.slow
def test_in_a_notebook_a_line_changes_until_it_is_the_last_epochs():
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    code = "from tests.test_display import shown; shown('auto')"
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(page, timeout=120, resources={"metadata": {"path": ROOT}}).execute()
    (output,) = page.cells[0].outputs
    assert output["data"] == {
        "text/plain": LINES[-1],
        "text/html": f'<progress max="1" value="1.000"></progress> {LINES[-1]}',
    }
