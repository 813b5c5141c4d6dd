"""Settings are settled once, by the first process of a service, and handed on to all others in their environment.

``rowcast serve`` starts BentoML's supervisor, that starts workers, now and for as long as it runs, and BentoML imports
the service from the folder of its code. So the first process reads ``.env`` where it was started, makes every path
absolute, and names itself in a variable; a process whose parent is named there takes its settings from the environment
and reads no file.
"""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import MutableMapping
from pathlib import Path

from rowcast.service.settings import DEFAULT_REPOSITORY, Settings
from rowcast.service.variables import CLIENT_KEY, PREFIX, Variables

SETTLED_BY = "ROWCAST_SETTLED_BY"
"""Variable that holds the process which settled the settings in the environment; no setting."""
_SECRETS = ("api_keys", "tls_key", "grpc_tls_key")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def settle(folder: Path, environment: MutableMapping[str, str], **flags: object) -> tuple[Settings, list[str]]:
    """Settle the settings of a service, in its first process.

    Args:
        folder: where it is started.
        environment: of the processes that follow; is changed so that they find these settings in it.
        flags: settings from the command line, which go first.

    Returns:
        The settings, and what their owner should be told about them.

    Raises:
        ConfigError: a value breaks its rule, or ``.env`` cannot be read.
    """
    variables = Variables.read(folder)
    settings = Settings.of(variables, **flags)
    if "repository" not in settings.model_fields_set:
        settings = settings.model_copy(update={"repository": _usual_repository(folder.absolute())})
    for name, value in variables.tracing().items():
        environment.setdefault(name, value)
    hand_on(settings, environment)
    return settings, _doubts(settings, variables)


def hand_on(settings: Settings, environment: MutableMapping[str, str]) -> None:
    """Put settings into an environment, for the children of this process, in place of what it said."""
    known = set(Settings.variables().values())
    for name in [name for name in environment if name.upper() in known]:
        del environment[name]
    environment.update(settings.as_variables())
    environment[SETTLED_BY] = str(os.getpid())


def settings_of_service() -> tuple[Settings, list[str]]:
    """The settings of a process that serves, handed on to those that it starts; and what is to be told about them.

    Raises:
        ConfigError: a value breaks its rule, or ``.env`` cannot be read.
    """
    if not are_handed_on():
        return settle(folder_of_start(), os.environ)
    settings = Settings.of(Variables.read(Path.cwd(), env_file=False))
    hand_on(settings, os.environ)
    return settings, []


def are_handed_on() -> bool:
    """Whether the process that started this one has settled its settings, or this one has."""
    return os.environ.get(SETTLED_BY) in (str(os.getppid()), str(os.getpid()))


def folder_of_start() -> Path:
    """Where this process was started. While BentoML imports a service it is in the folder of the service's code."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "bentoml._internal.service.loader":
            before = frame.f_locals.get("prev_cwd")
            if isinstance(before, str):
                return Path(before)
        frame = frame.f_back
    return Path.cwd()


def _usual_repository(folder: Path) -> Path:
    """The folder of models where nobody names one: where the service is started, or else beside this code.

    The second is for a bento, which carries its models beside the code and may be started from anywhere.
    """
    here = folder / DEFAULT_REPOSITORY
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / DEFAULT_REPOSITORY


def _doubts(settings: Settings, variables: Variables) -> list[str]:
    """What may not be meant."""
    doubts = variables.unknown(set(Settings.variables().values()))
    key = variables.values.get(CLIENT_KEY)
    if key is not None and settings.api_keys is None:
        doubts.append(
            f"{CLIENT_KEY}{key.where} is the key that a client sends, so it protects nothing here: anyone may ask. A "
            f"service takes a file of keys: {PREFIX}API_KEYS"
        )
    for name in _SECRETS:
        file = getattr(settings, name)
        try:
            mode = stat.S_IMODE(file.stat().st_mode) if file is not None else 0
        except OSError:  # whoever needs it says so
            continue
        if mode & _OTHERS:
            doubts.append(
                f"{file} ({Settings.variables()[name]}) is open to others than its owner (its mode is {mode:04o}): "
                "chmod 600 it"
            )
    return doubts
