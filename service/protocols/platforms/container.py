"""The image's entry point: takes the port from the platform that starts the container, then gives way to BentoML's.

    python service/protocols/platforms/container.py ENTRYPOINT [ARGUMENT ...]

``PORT`` and ``BENTOML_PORT`` come first, since somebody chose them. Where SageMaker starts the container nothing but
HTTP on that port reaches it, and other ports may belong to its other containers: so gRPC is off unless it is asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn


def variables_for(variables: Mapping[str, str], arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What is to be added to the environment, and what is to be said about it.

    Args:
        variables: the environment.
        arguments: of the container.

    Raises:
        EnvironmentRefused: a platform's variable is not as it should be.
    """
    from rowcast.service.platform_variables import for_sagemaker, port_of

    added, lines = {}, []
    port, why = port_of(variables, arguments)
    if why and not any(variables.get(name) for name in ("PORT", "BENTOML_PORT")):
        added["PORT"] = str(port)
        lines.append(f"port {port}: {why}")
    if for_sagemaker(variables, arguments) and not variables.get("ROWCAST_GRPC_PORT"):
        added["ROWCAST_GRPC_PORT"] = "off"
        lines.append("gRPC is off: SageMaker reaches one port; ROWCAST_GRPC_PORT turns it on")
    return added, lines


def main() -> NoReturn:
    """Become the entry point that the first argument names; exit with 2 where a variable is wrong."""
    _, entrypoint, *arguments = sys.argv
    try:
        added, lines = variables_for(os.environ, arguments)
    except ValueError as error:
        print(f"rowcast: {error}", file=sys.stderr)
        sys.exit(2)
    for line in lines:
        print(f"rowcast: {line}", file=sys.stderr, flush=True)
    os.execve(entrypoint, [entrypoint, *arguments], os.environ | added)  # noqa: S606 - there is no shell, on purpose


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])  # where the rooms are, instead of this folder
    main()
