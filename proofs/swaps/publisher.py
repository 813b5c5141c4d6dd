"""Publishes versions from a process of its own, so that whoever measures is not held up: one for each line of input.

python -m proofs.swaps.publisher REPOSITORY KEPT
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from proofs.swaps.asking import weight
from rowcast.models.repository import Repository
from tests.service.live.versions import publish


class Publisher:
    """The process, as others see it.

    Args:
        root: the repository.
        kept: versions that are kept in it; older ones are removed.
    """

    def __init__(self, root: Path, kept: int) -> None:
        self._arguments = [sys.executable, "-m", "proofs.swaps.publisher", str(root), str(kept)]
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Publisher:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._arguments, stdin=pipe, stdout=pipe)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def publish(self) -> int:
        """Publish the next version; its number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return int(await self._process.stdout.readline())


def main() -> None:
    """Publish a version for each line."""
    root, kept = Path(sys.argv[1]), int(sys.argv[2])
    for _ in sys.stdin:
        version = Repository(root).versions("flights")[-1] + 1
        publish(root, weight(version))
        for old in Repository(root).versions("flights")[:-kept]:
            shutil.rmtree(root / "flights" / str(old))
        print(version, flush=True)


if __name__ == "__main__":
    main()
