"""Who speaks which protocol, a tensor or an Arrow column for each column of the model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.harness.contenders import PEERS, Contender
from benchmarks.serving.harness.environments import NotMade, python_of
from benchmarks.serving.harness.processes import NotStarted
from benchmarks.serving.tensors.wire import ARROW, GRPC, V2_BINARY, V2_JSON, Protocol


@dataclass(frozen=True, slots=True)
class Peer(Contender):
    """A server that speaks some of the protocols.

    ``environment`` is the stem of the file of requirements in ``peers/``; empty for this process's own.
    """

    protocols: tuple[Protocol, ...] = ()
    environment: str = ""

    @property
    def files(self) -> list[Path]:
        """The code that makes it what it is, besides Rowcast's."""
        requirements = [PEERS / f"{self.environment}.txt"] if self.environment else []
        return sorted({*PEERS.glob(f"{self.name}*.py"), PEERS / "onnx_rows.py", *requirements})

    def command(self, port: int, scratch: Path) -> list[str]:
        """What starts it.

        Raises:
            NotStarted: its environment cannot be made.
        """
        try:
            python = python_of(PEERS / f"{self.environment}.txt", scratch) if self.environment else sys.executable
        except NotMade as error:
            raise NotStarted(str(error)) from None
        return [python, *(argument.format(port=port) for argument in self.arguments)]


PEER_LIST = (
    Peer(
        "tensors_triton",
        "Triton, Python backend",
        ("tensors_triton.py",),
        ready="/v2/health/ready",
        may_be_held=False,
        protocols=(V2_JSON, V2_BINARY, GRPC),
        environment="triton_python",
    ),
    Peer(
        "tensors_mlserver",
        "MLServer",
        ("tensors_mlserver.py",),
        ready="/v2/health/ready",
        protocols=(V2_JSON, GRPC),
        environment="mlserver_runtime",
    ),
    Peer("grpc_by_hand", "by hand: grpc.aio, no validation", ("grpc_by_hand.py",), ready="/ready", protocols=(GRPC,)),
    Peer(
        "arrow_by_hand",
        "by hand: Starlette, pyarrow, no validation",
        ("arrow_by_hand.py",),
        ready="/ready",
        protocols=(ARROW,),
    ),
)
UNSPOKEN = {
    ("v2_binary", "tensors_mlserver"): "its server does not read the binary extension (1.7.1)",
}
"""Why a peer is missing where one would look for it."""
