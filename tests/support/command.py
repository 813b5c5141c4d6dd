"""The command line, called in this process."""

from __future__ import annotations

import pytest

from rowcast.cli import main


def run(capfd, *arguments):
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return int(ended.value.code or 0), out, err
