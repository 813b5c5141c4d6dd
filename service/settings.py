"""What the environment (or a ``.env`` file) says about the service: every setting, its default and its range."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator

from rowcast.models.errors import ConfigError
from rowcast.models.machine.limits import memory_limit, usable_cores
from rowcast.models.names import CHOICE, is_alias
from rowcast.models.rollout import version_called
from rowcast.service.limits.byte_rule import MAX_QUEUE_ROWS
from rowcast.service.variables import PREFIX, Variables

DEFAULT_REPOSITORY = Path("models/repository")

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?")
"""Scheme, host and port: a browser sends no path with it."""
_RULES = {
    "repository": "a folder",
    "models": "names of models, each with or without a version or an alias, such as flights,other:3,third@champion",
    "reload": "auto or manual",
    "workers": "a whole number from 1 to 256",
    "device": "auto, cpu, cuda or cuda:N",
    "max_rows": "a whole number from 1 to 1,000,000",
    "max_body": "a size from 1 KiB to less than 2 GiB, such as 16MiB",
    "max_bytes": "a size, such as 128MiB, or 0 for four of the largest bodies",
    "max_queue": "a whole number from 1 to 10,000,000",
    "grace": "a number of seconds from 0 to 3,600",
    "grpc_host": "an address or the name of a host",
    "grpc_port": "a port from 1 to 65,535, or off",
    "grpc_tls_cert": "a file",
    "grpc_tls_key": "a file",
    "front": "on or off",
    "tls_cert": "a file",
    "tls_key": "a file",
    "api_keys": "a file",
    "cors_origins": "* or origins with commas between, such as https://example.com,http://localhost:8080",
    "access_log": "on or off",
    "root_path": "a path such as /rowcast, without a slash at its end, that is none of the service's own",
}

_LEAST_BYTES = 64 * 2**20
PROTECTION = {
    "api_keys": "anyone may ask, with a key or without",
    "tls_cert": "nothing is encrypted",
    "tls_key": "nothing is encrypted",
    "grpc_tls_cert": "gRPC has no certificate of its own",
    "grpc_tls_key": "gRPC has no certificate of its own",
}
"""Settings that protect, and what is so without each: one that is set and empty stops the start."""

_ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
"""Segments without anything that would be escaped in a URL; none begins with a dot."""
_LONGEST_ROOT_PATH = 200
_TAKEN = frozenset(
    {"models", "predict", "v1", "v2", "ping", "invocations", "livez", "readyz", "healthz", "metrics", "static_content"}
)
"""First segments of the service's own paths: with one of these as prefix, a path could be read in two ways."""


def checked_root_path(text: str) -> str:
    """A root path as it may be; an empty one is none.

    Raises:
        ValueError: it breaks the rule.
    """
    if text and (len(text) > _LONGEST_ROOT_PATH or not _ROOT_PATH.fullmatch(text) or text.split("/")[1] in _TAKEN):
        raise ValueError(f"{text!r} is no root path")
    return text


class Settings(BaseModel):
    """Settings of the service. Each is read from ``ROWCAST_<NAME>``, in the environment or in ``.env``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: Path = DEFAULT_REPOSITORY
    """Where models live."""
    models: str = ""
    """What is served: ``flights,other:3,third@champion``. Empty: the latest version of every model. An alias stands
    for the version that it is of when the service starts."""
    reload: Literal["auto", "manual"] = "auto"
    """Whether a version that is published while the service runs goes live by itself, or when somebody says so."""
    workers: int = Field(default_factory=usable_cores, ge=1, le=256)
    """Worker processes. One run at a time in each, so a worker per usable core."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    max_rows: int = Field(4096, ge=1, le=1_000_000)
    """Rows a request may hold."""
    max_body: ByteSize = Field(ByteSize(16 * 2**20), ge=1024, lt=2**31)
    """Bytes a request's body may hold: ``16MiB`` or a plain number. gRPC counts them in 31 bits."""
    max_bytes: ByteSize = Field(ByteSize(0))
    """Bytes of bodies that a worker holds, arriving, decoded and waiting; 0 for what :attr:`byte_limit` says."""
    max_queue: int = Field(MAX_QUEUE_ROWS, ge=1, le=10_000_000)
    """Rows that may wait in a worker, for each model; a request beyond it is refused with 429."""
    grace: float = Field(5.0, ge=0, le=3600, allow_inf_nan=False)
    """Seconds the service goes on answering after SIGTERM, while ``/readyz`` already says no."""
    grpc_port: int = Field(3001, ge=0, le=65535)
    """Where Open Inference over gRPC listens; ``off``, or 0, for nowhere. See :attr:`grpc_port_is_chosen`."""
    grpc_host: str = Field("127.0.0.1", min_length=1)
    """The address it listens on; ``rowcast serve`` takes that of HTTP."""
    grpc_tls_cert: Path | None = None
    """A certificate for gRPC alone."""
    grpc_tls_key: Path | None = None
    """Its key."""
    tls_cert: Path | None = None
    """A certificate, and those that vouch for it, in PEM: with it and its key, TLS alone is spoken on both ports."""
    tls_key: Path | None = None
    """The certificate's key, in PEM, without a password."""
    api_keys: Path | None = None
    """A file of keys, see :mod:`rowcast.service.middleware.keys`; with it, whoever has none is refused."""
    cors_origins: str = ""
    """Origins whose pages may ask: ``*``, or ``https://example.com,http://localhost:8080``."""
    access_log: bool = False
    """Whether a line is written for each request."""
    root_path: str = ""
    """A path under which a proxy has the service; requests may come with it or without it."""
    front: bool = True
    """``off`` lets BentoML's typed API answer the predict routes."""

    @property
    def byte_limit(self) -> int:
        """Bytes of bodies that a worker holds at once: four of the largest bodies, 64 MiB at least, unless that is more
        than a quarter of its share of the memory."""
        if self.max_bytes:
            return int(self.max_bytes)
        share = int(memory_limit().amount) // (4 * self.workers)
        return max(int(self.max_body), min(max(_LEAST_BYTES, 4 * int(self.max_body)), share))

    @property
    def grpc_port_is_chosen(self) -> bool:
        """Whether somebody asked for this port: then it is needed. The default one gives way to whoever has it."""
        return "grpc_port" in self.model_fields_set

    @property
    def grpc_certificate(self) -> tuple[Path, Path] | None:
        """Certificate and key of gRPC: its own, or else those of HTTP."""
        if self.grpc_tls_cert is not None and self.grpc_tls_key is not None:
            return self.grpc_tls_cert, self.grpc_tls_key
        return self.certificate

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """Certificate and key of HTTP."""
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)

    @property
    def origins(self) -> list[str]:
        """The origins whose pages may ask."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        for origin in filter(None, map(str.strip, text.split(","))):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin")
        return text

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, text: str) -> str:
        return checked_root_path(text)

    @field_validator("grpc_port", mode="before")
    @classmethod
    def _off(cls, port: Any) -> Any:
        return 0 if port == "off" else port

    @field_validator("models")
    @classmethod
    def _names_and_versions(cls, text: str) -> str:
        choices = list(filter(None, text.split(",")))
        if text and not choices:  # commas alone, as of names that were empty: that is not every model
            raise ValueError(f"{text!r} names no model")
        for choice in choices:
            if not CHOICE.fullmatch(choice.strip()):
                raise ValueError(f"{choice!r} is not a name with or without a version")
        return text

    @classmethod
    def load(cls, folder: Path | None = None, **flags: Any) -> Settings:
        """Read the environment, and under it ``.env``.

        Args:
            folder: where the service is started: of ``.env``, and of relative paths. Default: the current one.
            flags: settings from the command line, which go first.

        Raises:
            ConfigError: a value breaks its rule; names the variable.
        """
        return cls.of(Variables.read(folder or Path.cwd()), **flags)

    @classmethod
    def of(cls, variables: Variables, **flags: Any) -> Settings:
        """Read settings from variables; see :meth:`load`. Paths become absolute.

        Raises:
            ConfigError: a value breaks its rule; names the variable.
        """
        given: dict[str, Any] = {}
        for name, variable in cls.variables().items():
            found = variables.values.get(variable)
            if found is None or name in flags:
                continue
            given[name] = found.value
            if name in PROTECTION and not found.value.strip():
                raise ConfigError(
                    f"{variable}{found.where} must name {_RULES[name]}, got nothing: without it {PROTECTION[name]}. "
                    f"To serve so on purpose, remove {variable}"
                )
            if Path in (cls.model_fields[name].annotation, *get_args(cls.model_fields[name].annotation)):
                if found.value.strip():
                    given[name] = variables.path(found.value)
                else:
                    del given[name]
        try:
            return cls(**given, **flags)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            raise ConfigError(f"{cls.variables()[name]} is {_RULES[name]}, got {first['input']!r}") from None

    @classmethod
    def variables(cls) -> dict[str, str]:
        """The variable of each setting."""
        return {name: PREFIX + name.upper() for name in cls.model_fields}

    def as_variables(self) -> dict[str, str]:
        """The variables that say what was set here, for another process; what has its default is left out."""
        names = sorted(self.model_fields_set)
        values = {self.variables()[name]: getattr(self, name) for name in names}
        return {variable: _text(value) for variable, value in values.items() if value is not None}

    @property
    def called(self) -> list[tuple[str, str]]:
        """Names and aliases that somebody gave, of what is asked for so."""
        matches = (CHOICE.fullmatch(choice.strip()) for choice in self.models.split(","))
        return [(match[1], match[3]) for match in matches if match and match[3] and is_alias(match[3])]

    @property
    def choices(self) -> list[tuple[str, int | None]]:
        """Names and versions to serve, None for the latest version; empty to serve the latest of every model.

        Raises:
            ModelNotFound: no version is called as one is asked for.
        """
        matches = (CHOICE.fullmatch(choice.strip()) for choice in self.models.split(","))
        return [
            (match[1], self._called(match[1], match[3]) if match[3] else _number(match[2]))
            for match in matches
            if match
        ]

    def _called(self, name: str, alias: str) -> int | None:
        return version_called(self.repository, name, alias, or_kept=True)


def _number(version: str | None) -> int | None:
    return int(version) if version else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(int(value)) if isinstance(value, int) else str(value)
