"""How BentoML's supervisor, circus, looks after the workers: BentoML has no settings for it, so it is told here.

Workers that die or hang are replaced within seconds (:mod:`rowcast.service.process.replacements`); in a container, too,
where BentoML would leave it to whoever runs the container, and one crash would take every request down with it.

Nobody gives the supervisor orders but by signals. Circus has a control socket, on which whoever reaches it may have any
program run, and BentoML opens it on a port of the loopback. Here it is inside of the process.

Told to stop, it stops, and its workers with it, whatever state they are in. Circus refuses a command while another one
runs, and one that came by a signal is then forgotten: the service would run on after a SIGTERM that met its start or
its look at the workers.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from bentoml._internal.utils.circus import Arbiter
from bentoml.exceptions import BentoMLException
from circus.sighandler import SysHandler
from circus.watcher import Watcher

from rowcast.service.limits.descriptors import raise_limit
from rowcast.service.middleware.log_queue import flush_lines, queue_log_lines
from rowcast.service.process import grpc_port
from rowcast.service.process.heartbeat import LOOK_SECONDS, Heartbeats
from rowcast.service.process.parent import SUPERVISED_BY, remove_what_the_launcher_left
from rowcast.service.process.renewal import Renewal
from rowcast.service.process.replacements import BUSY_SECONDS, Replacements
from rowcast.service.process.worker_process import WorkerProcess

logger = logging.getLogger("rowcast.service")

_CHECK_SECONDS = 1.0
"""How often the supervisor looks whether a worker is gone. BentoML's ten seconds are a long time without one."""
_END_SECONDS = 7.0
"""How long a worker may take to end, beyond its grace; BentoML's day is for ever when it hangs."""
_PATIENCE_SECONDS = 1.0
"""How long a stop waits for what the supervisor is doing before it tells the workers by itself."""
_LONGEST_SOCKET_PATH = 100
"""Of a socket in a file, in bytes; the kernel takes 107."""
_REFUSED_EXIT_CODE = 78
"""EX_CONFIG of sysexits.h."""


class StartRefused(BentoMLException):
    """The service cannot start; the text says why. BentoML's command line shows its own exceptions without a trace."""


Started: TypeAlias = Callable[[Heartbeats, Sequence[Replacements]], None]
"""Told, when the supervisor starts, what its workers have in common with it, and who looks after them."""


SettleAnew: TypeAlias = Callable[[Callable[[], bool]], bool]
"""Settles what is served, and tells whether the workers are to be replaced; given what tells whether nobody wants to
know any more."""


def look_after_workers(
    service: str = "",
    grace: float = 0.0,
    started: Started = lambda *_: None,
    settle_anew: SettleAnew = lambda _: True,
) -> None:
    """Change BentoML's supervisor in this process; before it is made.

    Args:
        service: the name of the service whose workers have a pulse.
        grace: seconds for which they serve on after SIGTERM.
        started: called when the supervisor starts.
        settle_anew: called at SIGHUP, in a thread of its own, for it may take minutes.
    """
    construct, begin = Arbiter.__init__, Arbiter.start
    raise_limit()

    def careful(self: Any, *args: Any, **options: Any) -> None:
        self.private_folder = None
        where = "inproc://rowcast"
        if options.get("plugins"):  # such as the one of --reload, which is a process of its own
            self.private_folder = _private_folder()
            where = f"ipc://{self.private_folder}/"
        options |= {"endpoint": f"{where}control", "pubsub_endpoint": f"{where}events", "check_delay": _CHECK_SECONDS}
        construct(self, *args, **options)
        if not any(wanted.is_unix for wanted in self.sockets.values()):
            self.exit_stack = _Tidy()
        manage = self.manage_watchers
        self.manage_watchers = lambda: manage() if _is_free(self) else None  # busy, circus would write a trace
        self.heartbeats = Heartbeats(sum(map(_slots, self.watchers)))
        self.replacements = list(_replacements(self.watchers, service, self.heartbeats))
        self.stop_asked_at = None
        self.renewal_requested = self.management_requested = False
        self.renewals = []
        self.settling = self.settle_requested = False
        for watcher in self.watchers:
            watcher.graceful_timeout = grace + _END_SECONDS

    def start(self: Any, *args: Any, **options: Any) -> None:
        queue_log_lines()
        for wanted in self.sockets.values():
            _check_free(wanted, self.watchers)
        self.loop.add_callback(_look, self)
        started(self.heartbeats, self.replacements)
        try:
            with _children_watched(self):
                begin(self, *args, **options)
        except RuntimeError as error:
            if "No active process" not in str(error):
                raise
            if self.stop_asked_at is None:
                words = "no worker is left and none could start, so the service ends; see above why"
                raise StartRefused(words) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise StartRefused("somebody else has just begun to listen on the port: choose another --port") from None
        finally:
            if self.private_folder is not None:
                shutil.rmtree(self.private_folder, ignore_errors=True)
            remove_what_the_launcher_left()
            flush_lines()

    def quit_when_free(handler: Any) -> None:
        handler.controller.loop.add_callback_from_signal(_stop_when_free, handler.controller.arbiter)

    def reload_when_free(handler: Any) -> None:
        handler.controller.loop.add_callback_from_signal(_settle, handler.controller.arbiter, settle_anew)

    SysHandler.quit = quit_when_free
    SysHandler.reload = reload_when_free
    Watcher._process_class = WorkerProcess
    Arbiter.__init__ = careful  # type: ignore[method-assign]
    Arbiter.start = start  # type: ignore[method-assign]


def _slots(watcher: Any) -> int:
    """How many workers of a watcher there may be: while they are replaced, there are twice as many."""
    return 2 * int(watcher.numprocesses) + 1


def _replacements(watchers: list[Any], service: str, heartbeats: Heartbeats) -> Iterator[Replacements]:
    """What looks after each watcher's workers; those of ``service`` are told where to count their heartbeats."""
    first = 0
    for watcher in watchers:
        beats = isinstance(watcher.args, list) and ["--service-name", service] in map(
            list, zip(watcher.args, watcher.args[1:], strict=False)
        )
        if beats:
            watcher.env = {**(watcher.env or {}), SUPERVISED_BY: f"{os.getpid()}:{heartbeats.descriptor}:{first}"}
        yield Replacements(watcher, heartbeats if beats else None, first)
        first += _slots(watcher)


class _Tidy(contextlib.ExitStack):
    """What BentoML leaves to be done at the end; it removes its folder of sockets at once, which nobody needs.

    A supervisor that is killed would leave it behind.
    """

    def callback(self, callback: Any, /, *args: Any, **options: Any) -> Any:
        """Register what is to be done."""
        if callback is shutil.rmtree:
            callback(*args, **options)
        return super().callback(callback, *args, **options)


def _private_folder() -> str:
    """A new folder that nobody else may enter, whose sockets' paths are not too long."""
    folder = tempfile.mkdtemp(prefix="rowcast-")
    if len(os.fsencode(folder)) + len("/control") > _LONGEST_SOCKET_PATH and Path("/tmp").is_dir():  # noqa: S108
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="rowcast-", dir="/tmp")
    return folder


@contextlib.contextmanager
def _children_watched(arbiter: Any) -> Iterator[None]:
    """Have the supervisor look at its workers as soon as one has ended, and not only every second."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCHLD, lambda *_: arbiter.loop.add_callback_from_signal(_manage_when_free, arbiter))
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _look(arbiter: Any) -> None:
    """Look for hung workers, now and every second."""
    for replacements in arbiter.replacements:
        replacements.look()
    arbiter.loop.call_later(LOOK_SECONDS, _look, arbiter)


def _is_free(arbiter: Any) -> bool:
    return arbiter._exclusive_running_command is None  # it says so nowhere else


def _manage_when_free(arbiter: Any, requested: bool = False) -> None:
    """Have the workers looked at as soon as the supervisor does nothing else."""
    if arbiter._stopping or (arbiter.management_requested and not requested):
        return
    arbiter.management_requested = not _is_free(arbiter)
    if arbiter.management_requested:
        arbiter.loop.call_later(BUSY_SECONDS, _manage_when_free, arbiter, True)
    else:
        arbiter.manage_watchers()


def _settle(arbiter: Any, settle_anew: SettleAnew) -> None:
    """Settle anew what is served, and then replace the workers; again, if it is asked for meanwhile. The loop goes on:
    it looks after the workers, and may be told to stop."""
    arbiter.settle_requested = arbiter.settling
    if arbiter._stopping or arbiter.settling:
        return
    arbiter.settling = True

    def work() -> None:
        is_settled = False
        try:
            is_settled = settle_anew(lambda: arbiter.stop_asked_at is not None)
        except Exception:
            logger.exception("told to reload, but what was served is served on")
        arbiter.loop.add_callback(done, is_settled)

    def done(is_settled: bool) -> None:
        arbiter.settling = False
        if arbiter.settle_requested:
            _settle(arbiter, settle_anew)
        elif is_settled:
            _renew_when_free(arbiter)

    threading.Thread(target=work, name="settle", daemon=True).start()


def _renew_when_free(arbiter: Any, requested: bool = False) -> None:
    """Replace all workers as soon as the supervisor does nothing else; once, however often it was asked meanwhile.

    Those of other programs, which have no pulse, are none of the service's.
    """
    if arbiter._stopping or (arbiter.renewal_requested and not requested):
        return
    too_many = any(len(watcher.processes) > watcher.numprocesses for watcher in arbiter.watchers)
    arbiter.renewal_requested = not _is_free(arbiter) or bool(arbiter.renewals) or too_many
    if arbiter.renewal_requested:
        arbiter.loop.call_later(BUSY_SECONDS, _renew_when_free, arbiter, True)
    else:
        both = zip(arbiter.watchers, arbiter.replacements, strict=True)
        arbiter.renewals = [Renewal(watcher, known) for watcher, known in both if known.have_pulse]
        arbiter.manage_watchers()
        _look_after_renewals(arbiter)


def _look_after_renewals(arbiter: Any) -> None:
    """Have workers told to stop once those who take their places serve."""
    if arbiter.stop_asked_at is not None:
        return
    arbiter.renewals = [renewal for renewal in arbiter.renewals if not renewal.look()]
    if arbiter.renewals:
        arbiter.loop.call_later(BUSY_SECONDS, _look_after_renewals, arbiter)
    else:
        _manage_when_free(arbiter)


def _stop_when_free(arbiter: Any) -> None:
    """Stop a supervisor as soon as it does nothing else; on its loop."""
    if arbiter.stop_asked_at is None:
        arbiter.stop_asked_at = time.monotonic()
        for replacements in arbiter.replacements:
            replacements.stop()
        longest = max((watcher.graceful_timeout for watcher in arbiter.watchers), default=0.0)
        arbiter.loop.call_later(longest + _PATIENCE_SECONDS, _kill_all, arbiter)
        _stop_or_wait(arbiter)


def _stop_or_wait(arbiter: Any) -> None:
    if arbiter._stopping:
        return
    if _is_free(arbiter):
        arbiter.stop()
        return
    if time.monotonic() > arbiter.stop_asked_at + _PATIENCE_SECONDS:
        for replacements in arbiter.replacements:
            replacements.stop_all()
    arbiter.loop.call_later(BUSY_SECONDS, _stop_or_wait, arbiter)


def _kill_all(arbiter: Any) -> None:
    for replacements in arbiter.replacements:
        replacements.kill()


def _check_free(wanted: Any, watchers: list[Any]) -> None:
    """Make sure that circus can listen on the address of a socket it has made.

    Raises:
        StartRefused: it cannot.
    """
    if wanted.is_unix:
        return
    try:
        _probe(wanted)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and grpc_port.give_way(wanted.port):
            for watcher in watchers:
                watcher.env[grpc_port.SETTING] = "off"
            return
        raise StartRefused(
            f"cannot listen on {wanted.host}:{wanted.port} ({error.strerror}): choose another --port or --host"
        ) from None


def _probe(wanted: Any) -> None:
    with socket.socket(wanted.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((wanted.host, wanted.port))


def refuse_to_start(error: Exception) -> NoReturn:
    """End a start that cannot be: in a worker with one line, elsewhere with an exception that BentoML shows as one.

    Raises:
        StartRefused: this is no worker.
    """
    if _is_worker():
        logger.error("a worker cannot start: %s", error)
        logging.shutdown()
        os._exit(_REFUSED_EXIT_CODE)  # nothing was served yet, and on any other way out BentoML prints a trace
    raise StartRefused(str(error)) from None


def _is_worker() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", None) == "_bentoml_impl.worker.service"
