"""What the processes of a service are and hold, for tests and proofs that look at them from outside."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable

import psutil


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of some processes that have not ended."""
    left = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
        except psutil.NoSuchProcess:
            pass
    return left


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, itself or by others."""
    try:
        process = psutil.Process(pid)
        return alive([process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return []


def workers(pid: int) -> list[psutil.Process]:
    """The workers among the family of a process, oldest first."""
    found = []
    for member in family(pid):
        try:
            if "_bentoml_impl.worker.service" in member.cmdline():
                found.append(member)
        except psutil.Error:
            pass
    return sorted(found, key=lambda worker: (worker.create_time(), worker.pid))


def supervisor(pid: int) -> psutil.Process | None:
    """The supervisor among the family of a process: the one that runs ``bentoml serve``."""
    for member in family(pid):
        try:
            if "bentoml" in member.cmdline() and "serve" in member.cmdline():
                return member
        except psutil.Error:
            pass
    return None


def addresses(processes: Iterable[psutil.Process]) -> set[str]:
    """Whatever others could send something to: listening TCP ports, UDP ports, unix sockets with a name."""
    found = set()
    for process in processes:
        try:
            connections = process.net_connections("all")
        except psutil.NoSuchProcess:  # it has ended, and holds nothing any more
            continue
        for connection in connections:
            local = connection.laddr
            if connection.family == socket.AF_UNIX:
                found |= {f"unix {local}"} if local else set()
            elif connection.type == socket.SOCK_DGRAM:
                found.add(f"udp {local.port}")
            elif connection.status == psutil.CONN_LISTEN:
                found.add(f"tcp {local.port}")
    return found


def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for a condition; how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started
