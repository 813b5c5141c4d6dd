"""The models a worker serves: which ones, how each answers a request, and whether the worker is ready for any."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from models.errors import ModelNotFound
from models.repository import Repository, StoredModel
from models.session import Predictions, Session
from service.batcher import MAX_BATCH_ROWS, Batcher
from service.decode import Decoder
from service.encode import Encoder, NotFinite
from service.http import BodyReader, ClientGone, Receive, error_body
from service.metrics import Meter
from service.rows import Row, graph_inputs
from service.settings import DEFAULT_REPOSITORY, Settings

logger = logging.getLogger("rowcast.service")

Answer = tuple[int, bytes]
"""HTTP status, and the body in JSON."""

_TIMED_RUNS = 5
_PATIENCE_SECONDS = 0.005
"""How long rows are queued before anyone looks whether their caller is still there: looking costs as much as a row."""


class ServedModel:
    """One version of one model, from a request's body to the answer's.

    Args:
        stored: the verified version.
        versions: every version of this name that is served.
        settings: the service's.
    """

    def __init__(self, stored: StoredModel, versions: list[int], settings: Settings) -> None:
        self.manifest = stored.manifest
        self.signature = stored.manifest.signature
        self.name = stored.manifest.name
        self.version = stored.manifest.version
        self.max_body = int(settings.max_body)
        self.max_queue = settings.max_queue
        self.decoder = Decoder(self.signature, settings.max_rows)
        self.encoder = Encoder(self.name, self.version, self.signature)
        public = self.signature.public()
        self.example = {"rows": [public.example_row()]}
        self.description = {
            "name": self.name,
            "version": self.version,
            "versions": versions,
            "created": self.manifest.created,
            "sha256": stored.sha256,
            "signature": public.model_dump(mode="json"),
            "metrics": self.manifest.metrics,
            "example": self.example,
        }
        self.meter = Meter(self.name)
        self.bodies = BodyReader()
        self._session: Session | None = None
        self._batcher: Batcher | None = None

    def load(self, stored: StoredModel, device: str, thread: ThreadPoolExecutor) -> None:
        """Open the session, warm it up and start the batcher, on the running event loop.

        Raises:
            ModelRefused: the graph and its manifest do not belong together.
            DeviceError: CUDA was demanded and is absent.
        """
        self._session = Session.of(stored, device)
        self._session.warm_up()
        row = self.decoder.rows(orjson.dumps(self.example))
        self._batcher = Batcher(
            self.run,
            thread,
            max_queue=self.max_queue,
            seconds_per_row=self._seconds_per_row(row),
            drain_seconds_per_row=self._seconds_per_row(row * MAX_BATCH_ROWS),
            report=self.meter.run,
        )

    @property
    def batcher(self) -> Batcher:
        """The batcher of a loaded model."""
        assert self._batcher is not None, "the model is not loaded yet"
        return self._batcher

    def run(self, rows: list[Row]) -> Predictions:
        """Predict validated rows, at once and on this thread."""
        assert self._session is not None, "the model is not loaded yet"
        return self._session.run(graph_inputs(self.signature, rows))

    def _seconds_per_row(self, rows: list[Row]) -> float:
        """How long a row takes in a run of these, once such a run is nothing new."""
        self.run(rows)
        started = time.perf_counter()
        for _ in range(_TIMED_RUNS):
            self.run(rows)
        return (time.perf_counter() - started) / _TIMED_RUNS / len(rows)

    def read(self, body: bytes) -> list[Row]:
        """The rows of a request's body, counting levels that training never saw.

        Raises:
            RequestError: the body breaks a rule.
        """
        rows = self.decoder.rows(body)
        unseen = self.decoder.unseen(rows)
        if unseen:
            self.meter.unseen(unseen)
        return rows

    def write(self, predictions: Predictions) -> bytes:
        """The answer's body.

        Raises:
            NotFinite: there is an answer that JSON cannot say.
        """
        return self.encoder.answer(predictions)

    async def predict(self, rows: list[Row], receive: Receive | None = None) -> Answer:
        """Answer validated rows, together with whatever other requests are waiting.

        Args:
            rows: of one request.
            receive: the request's, to notice that its caller hangs up while the rows are queued.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
            QueueFull: too much waits already; nothing was queued.
        """
        must_wait = self.batcher.busy
        answer = self.batcher.submit(rows)
        watch: asyncio.TimerHandle | None = None
        if must_wait and receive is not None:
            watch = answer.get_loop().call_later(_PATIENCE_SECONDS, _give_up_when_gone, answer, receive)
        try:
            return 200, self.write(await answer)
        except ClientGone:
            raise
        except NotFinite as error:
            logger.error("%s:%d: %s", self.name, self.version, error)
            return 500, error_body("the model gave an answer that is not a finite number")
        except Exception:
            logger.exception("%s:%d could not answer %d rows", self.name, self.version, len(rows))
            return 500, error_body("the model could not answer these rows")
        finally:
            if watch is not None:
                watch.cancel()


class Serving:
    """Every served model, and the state of the worker that serves them.

    Args:
        settings: which models to serve, and how.

    Raises:
        ModelNotFound: a model that was asked for is not in the repository.
        ModelRefused: a model's files are not the ones that were published.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ready = False
        """Whether every model is loaded and warmed up."""
        self.draining = False
        """Whether the worker was told to stop, and only serves on until callers have noticed."""
        self.models: dict[str, ServedModel] = {}
        """The model behind each name: its newest served version."""
        self.versions: dict[tuple[str, int], ServedModel] = {}
        self._repository = Repository(repository_root(settings))
        self._stored = self._open()
        numbers: dict[str, list[int]] = {}
        for name, version in sorted(self._stored):
            numbers.setdefault(name, []).append(version)
        for (name, version), stored in sorted(self._stored.items()):
            served = ServedModel(stored, numbers[name], settings)
            self.models[name] = self.versions[name, version] = served
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        """Where longer runs go: one at a time, whatever the model. It starts with the first of them."""

    @property
    def only(self) -> ServedModel | None:
        """The served model, if there is one name only."""
        return next(iter(self.models.values())) if len(self.models) == 1 else None

    def check(self) -> None:
        """Make sure that a worker could serve.

        Raises:
            ModelNotFound: there is nothing to serve.
            ModelRefused: a graph cannot be loaded.
            DeviceError: CUDA was demanded and is absent.
        """
        if not self.models:
            raise ModelNotFound(
                f"there is no model in {self._repository.root.absolute()}: make one with "
                "rowcast train TABLE --target COLUMN, or name another folder with ROWCAST_REPOSITORY"
            )
        # the supervisor opens a GPU only to prove that a demanded one works
        device = self.settings.device if self.settings.device.startswith("cuda") else "cpu"
        for stored in self._stored.values():
            Session.of(stored, device)

    async def start(self) -> None:
        """Load every model and warm it up, on the running event loop; then the worker is ready."""
        for key, stored in self._stored.items():
            self.versions[key].load(stored, self.settings.device, self.thread)
            logger.info("serving %s:%d", *key)
        self._stored.clear()  # the sessions have copies of the graphs
        self.ready = True

    def stop(self) -> None:
        """Let go of the thread, when the last answer is out."""
        self.ready = False
        self.thread.shutdown()

    def _open(self) -> dict[tuple[str, int], StoredModel]:
        choices = self.settings.choices or [(name, None) for name in self._repository.names()]
        stored = (self._repository.open(name, version) for name, version in choices)
        return {(model.manifest.name, model.manifest.version): model for model in stored}


def repository_root(settings: Settings) -> Path:
    """The folder of models: the one that was set, or else the default one of the working directory or of this code.

    The second is for a bento, which carries its models beside the code and may be started from anywhere.
    """
    if settings.repository == DEFAULT_REPOSITORY and not DEFAULT_REPOSITORY.is_dir():
        return Path(__file__).parent.parent / DEFAULT_REPOSITORY
    return settings.repository


def _give_up_when_gone(answer: asyncio.Future[Predictions], receive: Receive) -> None:
    """Watch over a request that is being queued: when its caller hangs up, it is over."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answer.done():
            answer.set_exception(ClientGone())

    if not answer.done():
        watcher = asyncio.ensure_future(watch())
        answer.add_done_callback(lambda _: watcher.cancel())
