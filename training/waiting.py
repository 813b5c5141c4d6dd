"""How a fit's threads wait for each other: spinning while the cores are theirs, asleep while others want them.

PyTorch shares the work of an operation out to OpenMP's threads, which meet at its end. Those that are there first spin
for milliseconds before they sleep, because to wake a thread takes as long as many an operation. Beside another process
that wants the cores, though, they spin while the one that they wait for has no core to run on, and a fit crawls.

GNU's OpenMP, which PyTorch's wheels for Linux bring along, reads how long to spin when it is loaded, and never again.
But it hardly spins for as long as it has more threads than there are cores (``do_spin`` in its ``wait.h``). So a few
more are started, which sleep, as soon as the kernel says that threads of this process wait for a core; they end when
none has waited for some seconds. Who computes what stays the same, and so does every bit.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""By which users choose how threads wait; they are left alone."""
EVERY_S = 0.1
"""From one look at how long threads have waited for a core to the next."""
MUCH = 0.1
"""Seconds that all threads together have waited, a second: more means that others want the cores."""
CALM_LOOKS = 30
"""Looks in a row at which nobody waited much, until threads spin again."""
_TASKS = Path("/proc/self/task")


@contextmanager
def considerate(threads: int, cores: int, *, always: bool = False) -> Iterator[None]:
    """Have OpenMP's threads sleep instead of spinning whenever other processes want the cores.

    Args:
        threads: that PyTorch has; one alone waits for nobody.
        cores: by the affinity of this process.
        always: have them sleep all the time: a CPU quota is used up by spinning too.
    """
    library = None if threads == 1 or any(name in os.environ for name in VARIABLES) else _openmp()
    if library is None or not _TASKS.exists():
        yield
        return
    over = threading.Event()
    team = max(2, cores - threads + 2)  # this one's first thread is no thread of OpenMP's
    watch = threading.Thread(target=_watch, args=[library, team, always, over], name="rowcast-waiting", daemon=True)
    with suppress(RuntimeError):  # there can be no more threads: theirs wait as they did
        watch.start()
    try:
        yield
    finally:
        over.set()
        if watch.ident is not None:
            watch.join()


def _watch(library: ctypes.CDLL, team: int, always: bool, over: threading.Event) -> None:
    """Look at how long threads wait for a core, until it is over."""
    crowd = _crowd(library, team) if always else None
    waited, calm = waited_s(), 0
    while not over.wait(EVERY_S):
        before, waited = waited, waited_s()
        much = sum(max(0.0, seconds - before.get(task, 0.0)) for task, seconds in waited.items()) > MUCH * EVERY_S
        calm = 0 if much else calm + 1
        if much and crowd is None:
            crowd = _crowd(library, team)
            if crowd is None:
                return
        elif calm >= CALM_LOOKS and crowd is not None and not always:
            crowd.end()
            crowd = None
    if crowd is not None:
        crowd.end()


def _crowd(library: ctypes.CDLL, threads: int) -> _Crowd | None:
    """So many threads; None where there cannot be as many: OpenMP would end the process for that, so it is tried."""
    over, tried = threading.Event(), []
    try:
        for _ in range(threads):
            tried.append(threading.Thread(target=over.wait, daemon=True))
            tried[-1].start()
        over.set()
        for thread in tried:
            thread.join()
        return _Crowd(library, threads)
    except RuntimeError:  # as in a container whose number of processes is limited
        return None
    finally:
        over.set()


def waited_s(tasks: Path = _TASKS) -> Mapping[str, float]:
    """For each thread of this process the seconds that it was ready to run and had no core, as Linux counts them."""
    found = {}
    for task in os.listdir(tasks):
        try:
            found[task] = int((tasks / task / "schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # it has ended, or the kernel does not count
            continue
    return found


class _Crowd:
    """Threads of OpenMP beyond the cores, which sleep for as long as they are there.

    Args:
        library: OpenMP's.
        threads: of the team, the first of which is the one that waits here.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        begun, self._over = threading.Event(), threading.Event()
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # what each does: free(NULL)

        def be_there() -> None:
            library.GOMP_parallel(nothing, None, ctypes.c_uint(threads), ctypes.c_uint(0))
            begun.set()
            self._over.wait()  # the others of the team end when this thread does

        self._thread = threading.Thread(target=be_there, name="rowcast-crowd", daemon=True)
        self._thread.start()
        begun.wait()

    def end(self) -> None:
        """Have them end."""
        self._over.set()
        self._thread.join()


def _openmp() -> ctypes.CDLL | None:
    """GNU's OpenMP as PyTorch has loaded it; None where it has another one."""
    noload = getattr(os, "RTLD_NOLOAD", None)
    if noload is None:  # not Linux
        return None
    bundled = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    for name in (*map(str, bundled), "libgomp.so.1"):
        try:
            library = ctypes.CDLL(name, mode=noload | os.RTLD_LAZY)
        except OSError:
            continue
        if hasattr(library, "GOMP_parallel"):
            return library
    return None
