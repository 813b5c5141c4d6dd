"""A network with nobody in it but a recorder: what looks up a name or calls somebody there is written down.

The process is in a network namespace of its own, in which every address is this machine's: a call to anyone arrives at
the loopback, where all packets are looked at. The only name server answers every name with an address that is for
documentation, so that whoever looks one up goes on to call it.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

INSIDE = "QUIET_NETWORK"
"""Variable that says that the process is in such a network."""
_ANSWERS = {1: socket.inet_aton("203.0.113.7"), 28: socket.inet_pton(socket.AF_INET6, "2001:db8::7")}
_FILES = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}
_OUTGOING = 4
"""The kind of a packet that is seen on its way out; on the loopback it is seen again on its way in."""
_TCP, _UDP, _DNS_PORT, _SYN, _ACK = 6, 17, 53, 2, 16


def enter() -> int | None:
    """Run this program again in a network of its own; None when it is in one already.

    Returns:
        the exit code of that run.
    """
    if os.environ.get(INSIDE):
        return None
    if not (shutil.which("unshare") and shutil.which("ip")):
        sys.exit("this proof needs Linux, with unshare (util-linux) and ip (iproute2)")
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    again = [sys.executable, *sys.orig_argv[1:]]
    done = subprocess.run(
        ["unshare", "--net", "--mount", *as_root, *again], env=os.environ | {INSIDE: "1"}, check=False
    )
    return done.returncode


class Recorder:
    """Records what goes out of this network; make it once, inside of it.

    Args:
        scratch: a folder.
    """

    def __init__(self, scratch: Path) -> None:
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "route", "add", "local", "default", "dev", "lo")
        subprocess.run(["ip", "-6", "route", "add", "local", "default", "dev", "lo"], check=False, capture_output=True)
        for number, (file, text) in enumerate(_FILES.items()):
            (scratch / str(number)).write_text(text)
            if Path(file).exists():
                _run("mount", "--bind", str(scratch / str(number)), file)
        self.seen: list[str] = []
        """What was seen, in order: look-ups of a name, and calls to an address that is not the loopback's."""
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        packets.bind(("lo", 0))
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", _DNS_PORT))
        threading.Thread(target=self._watch, args=(packets,), daemon=True).start()
        threading.Thread(target=self._answer, args=(names,), daemon=True).start()

    def since(self, mark: int) -> list[str]:
        """What was seen after the first ``mark`` entries, each once, with how often."""
        new = self.seen[mark:]
        return [f"{what} ({new.count(what)} times)" for what in dict.fromkeys(new)]

    def _watch(self, packets: socket.socket) -> None:
        while True:
            packet, (_, _, kind, *_) = packets.recvfrom(65535)
            call = None if kind == _OUTGOING else _call(packet)
            if call is not None:
                self.seen.append(call)

    def _answer(self, names: socket.socket) -> None:
        while True:
            asked, caller = names.recvfrom(4096)
            end, labels = 12, []
            while asked[end]:
                labels.append(asked[end + 1 : end + 1 + asked[end]].decode("latin-1"))
                end += 1 + asked[end]
            (kind,) = struct.unpack(">H", asked[end + 1 : end + 3])
            self.seen.append(f"looked up {'.'.join(labels)}")
            address = _ANSWERS.get(kind, b"")
            head = asked[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(address), 0, 0)
            record = struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(address)) + address if address else b""
            names.sendto(head + asked[12 : end + 5] + record, caller)


def _call(packet: bytes) -> str | None:
    """The call that a packet begins, if it goes to anyone but the loopback; queries go to a name server."""
    version = packet[0] >> 4
    if version == 4:
        protocol, to, rest = packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20]), packet[(packet[0] & 15) * 4 :]
    elif version == 6:
        protocol, to, rest = packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet[40:]
    else:
        return None
    if protocol not in (_TCP, _UDP) or len(rest) < 8 or to.startswith("127.") or to == "::1":
        return None
    if protocol == _TCP and rest[13] & (_SYN | _ACK) != _SYN:
        return None
    (port,) = struct.unpack(">H", rest[2:4])
    return f"called {to} port {port} over {'TCP' if protocol == _TCP else 'UDP'}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
