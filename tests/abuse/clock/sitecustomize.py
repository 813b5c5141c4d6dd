"""A wall clock that a test can step, for processes that find this folder on PYTHONPATH.

``time.time`` and ``time.time_ns`` are ahead by as many seconds as the file named by ``STEPPED_CLOCK`` says. What C code
asks (``datetime.now``) is not: a test of the sources sees to it that the service asks neither.
"""

import os
import time

_time, _time_ns = time.time, time.time_ns


def _offset() -> int:
    with open(os.environ["STEPPED_CLOCK"]) as file:
        return int(file.read() or 0)


if "STEPPED_CLOCK" in os.environ:
    time.time = lambda: _time() + _offset()
    time.time_ns = lambda: _time_ns() + _offset() * 10**9
