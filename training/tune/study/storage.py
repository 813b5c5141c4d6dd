"""Where a study is kept: a journal, which is a file of our own, or a database that several machines reach.

A journal is Optuna's (a line of JSON for each step of the study), written under a lock that the system releases when
its holder dies, whatever it dies of. A line that a kill or a full disk has cut off was never acknowledged; whoever
writes next takes it away.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TrainingError
from rowcast.models.plain_files import read_plain

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import URL

STUDIES_FOLDER = ".studies"
"""In the repository; no model can be called so, and nothing there is served."""
_LOCK = ".flock"
"""Behind the name of a journal. Not ``.lock``, which is there or not where Optuna's own lock is taken or not."""
_BEGINS = b'{"op_code"'
_PACKAGES = {
    "postgresql": {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary"},
    "mysql": {"mysqldb": "mysqlclient", "pymysql": "pymysql"},
    "sqlite": {"pysqlite": ""},
}
"""Databases that are known to work, the drivers of each, and how these are installed. Which one is meant by a URL that
names none is for SQLAlchemy to say: it has changed from one version to the next."""
_ALIASES = {"postgres": "postgresql"}
"""What hosts of databases call one, and SQLAlchemy does not."""
_PATIENCE_S = 10
"""For a database to answer at all."""
_ATTEMPTS, _MEANWHILE_S = 5, 0.5
"""At a database whose tables another process makes just now."""


class StorageLost(TrainingError):
    """A study can be written or read no more, which says nothing of the trial under way."""


def default_file(repository: Path, study: str) -> Path:
    """Where a study is kept if nobody says otherwise."""
    return repository / STUDIES_FOLDER / f"{study}.journal"


class FileLock:
    """A lock on a file beside the journal that one process holds at a time, and one thread of it; it may take it
    again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread = threading.RLock()
        self._depth, self._handle = 0, -1

    def acquire(self) -> bool:
        """Wait for it."""
        self._thread.acquire()
        is_first = self._depth == 0
        try:
            if is_first:
                self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            self._depth += 1
        except BaseException:  # a second Ctrl-C, say: whoever cleans up afterwards must not wait for us
            if is_first:
                self._close()
            self._thread.release()
            raise
        return True

    def release(self) -> None:
        """Let others have it."""
        self._depth -= 1
        if self._depth == 0:
            self._close()
        self._thread.release()

    def _close(self) -> None:
        self._depth = 0
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.release()


class Journal(JournalFileBackend):  # type: ignore[misc, unused-ignore]
    """The file of a journal."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.exclusive = FileLock(file.with_name(f"{file.name}{_LOCK}"))
        super().__init__(str(file), lock_obj=self.exclusive)  # type: ignore[arg-type] # it asks for no more

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines, behind the last whole one."""
        with self.exclusive:
            self._mend()
            super().append_logs(logs)

    def _mend(self) -> None:
        """Take away a line that was cut off."""
        with open(self.file, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            at, rest = size, b""
            while at > 0 and b"\n" not in rest:
                at = max(0, at - 4096)
                file.seek(at)
                rest = file.read(size - at)
            whole = at + rest.rfind(b"\n") + 1
            if whole < size:
                file.truncate(whole)


class Storage:
    """A storage that is open.

    Args:
        backend: Optuna's.
        shown: how messages call it; no password.
        journal: the file, where it is one.
    """

    def __init__(self, backend: BaseStorage, shown: str, journal: Journal | None = None) -> None:
        self.backend = backend
        self.shown = shown
        self._journal = journal

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """While this is entered no other process writes a journal. A database has no such lock."""
        if self._journal is None:
            yield
            return
        with self._journal.exclusive:
            yield

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors of the storage become a sentence.

        Raises:
            StorageLost: it cannot be reached or written any more.
        """
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except Exception as error:
            of_database = type(error).__module__.startswith("sqlalchemy")
            if not (of_database or isinstance(error, OSError | StorageInternalError)):
                raise
            raise StorageLost(
                f"a study is written as it goes on, but {self.shown} can no longer be used: {_reason(error)}; what it "
                "holds is intact: go on with the same command"
            ) from error


def open_storage(where: str | os.PathLike[str]) -> Storage:
    """Open a storage; a journal that is not there yet is made.

    Args:
        where: a file, or the URL of a database.

    Raises:
        ConfigError: it is neither, or needs a module that is not installed.
        TrainingError: it cannot be reached, or is no journal.
    """
    text = os.fspath(where)
    return _database(text) if "://" in text else _journal(Path(text))


def _journal(file: Path) -> Storage:
    shown = f"the study {file}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            head = read_plain(file, len(_BEGINS) - 1)
            if not _BEGINS.startswith(head):
                raise TrainingError(
                    f"a study is kept in a journal of its own, but {file} holds something else: name another file with "
                    "--storage"
                )
        journal = Journal(file)
        with journal.exclusive:  # which also says whether it can be written
            return Storage(JournalStorage(journal), shown, journal)
    except OSError as error:
        raise TrainingError(
            f"a study needs a file that it can write, but {file} cannot be: {error.strerror}; name another with "
            "--storage"
        ) from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise TrainingError(
            f"a study goes on if its journal is what was written, but {file} is damaged: {_reason(error)}; name "
            "another file with --storage, or remove it to begin anew"
        ) from error


def _database(url: str) -> Storage:
    scheme, _, rest = url.partition("://")
    database, _, driver = scheme.partition("+")
    database = _ALIASES.get(database, database)
    drivers = _PACKAGES.get(database, {})
    if not drivers or driver not in ("", *drivers):
        raise ConfigError(
            f"--storage takes a file, or the URL of a database that begins with one of {', '.join(_schemes())}; got "
            f"{named(f'{scheme}://...')}"
        )
    try:
        import sqlalchemy
        from optuna.storages import RDBStorage
    except ModuleNotFoundError as error:
        raise ConfigError(f"a database as storage needs {error.name}: pip install 'rowcast[train]'") from None
    try:
        made = sqlalchemy.make_url(f"{database}{'+' if driver else ''}{driver}://{rest}")
        shown = f"the storage {made.render_as_string(hide_password=True)}"
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(
            f"--storage takes the URL of a database, such as {scheme}://user:password@host/name; what came is none"
        ) from None
    if database == "sqlite" and made.database in (None, "", ":memory:"):
        raise ConfigError(
            f"--storage takes a database that is there for whoever goes on, got {named(url)}, which is in memory: name "
            "its file, such as sqlite:///study.db"
        )
    _check_driver(made, shown, drivers)
    wait = {"timeout": _PATIENCE_S} if database == "sqlite" else {"connect_timeout": _PATIENCE_S}
    engine = {"connect_args": wait, **({} if database == "sqlite" else {"pool_pre_ping": True})}
    for left in reversed(range(_ATTEMPTS)):
        try:
            return Storage(RDBStorage(made.render_as_string(hide_password=False), engine_kwargs=engine), shown)
        except (sqlalchemy.exc.SQLAlchemyError, OSError, RuntimeError, ValueError) as error:
            if not left or not (isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)):
                raise TrainingError(
                    f"a study needs a storage that answers, but {shown} does not: {_reason(error)}; nothing was tried"
                ) from None
            time.sleep(_MEANWHILE_S)  # another process makes the same tables
    raise AssertionError("the last attempt returns or raises")


def _schemes() -> list[str]:
    """How the URL of a database may begin."""
    return [
        f"{database}{way}://"
        for database, drivers in _PACKAGES.items()
        for way in ("", *(f"+{driver}" for driver in drivers if len(drivers) > 1))
    ]


def _check_driver(url: URL, shown: str, drivers: Mapping[str, str]) -> None:
    """Make sure that the module is there by which a database is reached.

    Raises:
        ConfigError: it is not; says how it is installed.
    """
    dialect = url.get_dialect()
    try:
        dialect.import_dbapi()
    except ImportError as error:
        package = drivers.get(dialect.driver, "")
        needed = getattr(error, "name", None) or dialect.driver
        way = f": pip install '{package}'" if package else ""
        raise ConfigError(f"{shown} needs the module {needed}, which is not installed{way}") from None


def _reason(error: BaseException) -> str:
    """The first line of what went wrong, at its root."""
    root = getattr(error, "orig", None) or error.__cause__ or error
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    return next(iter(str(root).strip().splitlines()), "") or type(root).__name__
