"""The server by hand, under Granian instead of uvicorn."""

# mypy: ignore-errors
import os

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels

if __name__ == "__main__":
    Granian(
        "by_hand:app",
        address="127.0.0.1",
        port=int(os.environ["PORT"]),
        interface=Interfaces.ASGINL,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        log_level=LogLevels.warning,
    ).serve()
