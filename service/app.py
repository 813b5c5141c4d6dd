"""The service that ``bentoml serve`` starts: BentoML's class, its settings, and the moments of its life."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException

from models.errors import RowcastError
from service.drain import drain_on_sigterm
from service.front import Front
from service.http import ASGIApp
from service.serving import Serving
from service.settings import Settings
from service.typed import typed_methods

logger = logging.getLogger("rowcast.service")

_TIMEOUT_SECONDS = 60
"""How long BentoML's own routes may take."""

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # a service sends nothing home


class StartRefused(BentoMLException):
    """The service cannot start; the text says why. BentoML's command line shows its own exceptions without a trace."""


def build(settings: Settings) -> bentoml.Service[Any]:
    """The BentoML service of the models that ``settings`` choose.

    Raises:
        RowcastError: a model cannot be served.
    """
    serving = Serving(settings)

    class FrontedService(bentoml.Service[Any]):  # type: ignore[misc]
        """A BentoML service with our front before its app."""

        def to_asgi(self, is_main: bool = True) -> ASGIApp:
            return Front(super().to_asgi(is_main), serving)

    class Rowcast:
        """Rows in, predictions out."""

        @bentoml.on_deployment  # type: ignore[untyped-decorator]
        def check() -> None:
            """Before the first worker: refuse to start when no worker could serve."""
            try:
                serving.check()
            except RowcastError as error:
                raise StartRefused(str(error)) from None

        @bentoml.on_startup  # type: ignore[untyped-decorator]
        async def start(self) -> None:
            """In each worker, before its first request."""
            await serving.start()
            gc.collect()
            gc.freeze()  # what is loaded stays: the collector need not look at it again
            drain_on_sigterm(serving, asyncio.get_running_loop())

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        def stop(self) -> None:
            """In each worker, after its last request."""
            serving.stop()

    for name, method in typed_methods(serving).items():
        setattr(Rowcast, name, method)
    return bentoml.service(
        name="Rowcast",
        service_class=FrontedService,
        workers=settings.workers,
        traffic={"timeout": _TIMEOUT_SECONDS},
        logging={"access": {"enabled": False}},
        tracing={"excluded_urls": ".*"},
    )(Rowcast)


try:
    Rowcast = build(Settings.load())
except RowcastError as refusal:
    raise StartRefused(str(refusal)) from None
