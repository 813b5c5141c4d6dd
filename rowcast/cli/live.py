"""``rowcast models promote`` and ``rowcast models status``: which versions are served, and which are to be."""

from __future__ import annotations

import getpass
import json
import math
import os
import socket
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_result, print_table, progress_console
from rowcast.cli.named import ModelArgument, RepositoryOption, name_and_version
from rowcast.cli.options import JsonOption
from rowcast.models.access import checked_address, key_of_environment
from rowcast.models.errors import ConfigError, ModelError, ModelNotFound, ModelRefused, RowcastError
from rowcast.models.interface import differences
from rowcast.models.names import DEFAULT_REPOSITORY, LATEST
from rowcast.models.repository import Repository, StoredModel, read_manifest
from rowcast.models.rollout import (
    Change,
    Rollout,
    absent_versions,
    choose_version,
    name_version,
    read_or_kept,
    read_rollout,
)
from rowcast.models.rollout.record import percent, seconds_of
from rowcast.models.rollout.steps import last_change, served_before
from rowcast.models.signature import Signature

PROMOTE = "Example: rowcast models promote flights:3"
ALIAS = "Example: rowcast models alias flights:3 champion"
STATUS = "Example: rowcast models status --url http://127.0.0.1:3000"

TRIALS = ("canary", "shadow")
"""What a version may be while it is on trial."""
UrlOption = Annotated[str | None, typer.Option("--url", help="Of a running service; its key in ROWCAST_API_KEY.")]
_SECONDS = 330.0
_JUST_NOW_SECONDS = 60.0


def promote(
    model: ModelArgument,
    allow_signature_change: Annotated[
        bool, typer.Option("--allow-signature-change", help="Though clients have to send other columns.")
    ] = False,
    url: UrlOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Have a version served, the newest unless one is named: by every service of the repository, or by one (--url)."""
    name, version = name_and_version(model, repository)
    if url is not None:
        if version is None and "@" in model and not model.endswith(f"@{LATEST}"):  # which version that is, nobody knows
            raise ConfigError(
                f"with --url a model is NAME or NAME:VERSION, got {model!r}, and {repository} has no {name} that tells "
                "its version"
            )
        parameters: dict[str, Any] = {"allow_signature_change": allow_signature_change}
        if version is not None:
            parameters["version"] = str(version)
        old = _served(url, name)
        ask(url, "POST", f"/v2/repository/models/{name}/load", {"parameters": parameters})
        new = _served(url, name)
        for change in _differences(old, new):
            progress_console.print(f"clients of {name} have to follow: {change}", soft_wrap=True)
        version = version or new.get("version")
        print_result(f"{name}:{version} is served by {url}" if version else f"{name} is served by {url}", aside=as_json)
        if as_json:
            print(json.dumps({"name": name, "version": version, "url": url}))
        return
    stored = Repository(repository).open(name, version)
    home, version = stored.path.parent, stored.manifest.version
    versions = Repository(repository).versions(name)
    seen = read_rollout(home)
    tell(absent_versions(name, seen, versions))
    before = served_before(seen, versions, version)
    for change in changes(stored, before, allowed=allow_signature_change):
        progress_console.print(change, soft_wrap=True)
    check_before(stored, seen)
    said = choose_version(
        home, version, versions, operator(), before, allow_signature_change=allow_signature_change, seen=seen
    )
    print_result(
        f"{name}:{version} is to be served: services of {repository} take it within seconds; "
        "rowcast models status --url U tells whether one has",
        aside=as_json,
    )
    if as_json:
        print(json.dumps({"name": name, "version": version, "before": before, **_told(said)}))


def what_holds(home: Path) -> tuple[Rollout, list[str]]:
    """What is said of a model that services follow; and what its file names that is not there, a line each.

    Args:
        home: the folder of the model.

    Raises:
        ModelRefused: the file is none of ours.
    """
    absent = absent_versions(home.name, read_rollout(home), Repository(home.parent).versions(home.name))
    return read_or_kept(home)[0], absent


def tell(lines: list[str]) -> None:
    """Tell a person what is wrong beside what he has asked for."""
    for line in lines:
        progress_console.print(line, soft_wrap=True)


def operator() -> str:
    """Who asks for a change: for the history."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # of a container, which has no name for it
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def changes(
    stored: StoredModel,
    before: int | None,
    *,
    allowed: bool,
    way_out: str = "if they do, add --allow-signature-change",
) -> list[str]:
    """What clients notice of a change.

    Args:
        stored: the version that is to be served.
        before: the one that is served until then; None for none.
        allowed: whether they may notice anything.
        way_out: what is told where they may not.

    Raises:
        ModelError: they notice something, and that is not allowed.
    """
    if before is None or before == stored.manifest.version:
        return []
    name, version = stored.manifest.name, stored.manifest.version
    found = differences(read_manifest(stored.path.parent / str(before)).signature, stored.manifest.signature)
    if found and not allowed:
        raise ModelError(
            f"the signature of {name}:{version} must be that of {name}:{before}, got another: {'; '.join(found)}. "
            f"Clients have to follow; {way_out}"
        )
    return [f"clients of {name}:{before} have to follow: {change}" for change in found]


def check_before(stored: StoredModel, seen: Rollout) -> None:
    """Make sure that a version can be served, before services are told to; and tell who was here just now.

    Services try it for themselves, and more. One that they served is not run: to go back is urgent.

    Args:
        stored: the version.
        seen: what was said before.

    Raises:
        ModelRefused: it cannot be loaded, or does not answer with numbers.
    """
    from rowcast.service.engine.versions import check_answers

    last = seen.last_word
    if (
        last is not None
        and last.who.partition(",")[0] not in ("start", operator())
        and _seconds_since(last) < _JUST_NOW_SECONDS
    ):
        progress_console.print(f"note: {last_change(stored.path.parent, seen)}", soft_wrap=True)
    if not any(one.what == "live" and one.after == stored.manifest.version for one in seen.history):
        check_answers(stored, "cpu")


def _seconds_since(change: Change) -> float:
    try:
        return time.time() - seconds_of(change.time)
    except ValueError:  # somebody wrote it by hand
        return math.inf


def status(
    name: Annotated[str | None, typer.Argument(help="A model; all by default.")] = None,
    url: UrlOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Say which versions are served and why others are not: by a service (--url), or by what the repository says."""
    if url is not None:
        found = details_of(url)
        found["models"] = [model for model in found["models"] if name in (None, model["name"])]
        _check_found(name, found["models"], url)
        for model in found["models"]:
            model |= {what: model["rollout"][what] for what in TRIALS}  # where the repository's answer has them
        _print_service(found, as_json)
    else:
        home = Repository(repository)
        listed = [(one, home.versions(one)) for one in home.names() if name in (None, one)]
        _check_found(name, listed, str(repository))
        found = {
            "repository": str(repository.absolute()),
            "models": [{"name": one, "versions": versions, **_told_of(home.root / one)} for one, versions in listed],
        }
        _print_repository(found, as_json)
    if as_json:
        print(json.dumps(found))


def _served(url: str, name: str) -> dict[str, Any]:
    """What a service says of the model that it serves under a name; nothing where it serves none."""
    try:
        return dict(ask(url, "GET", f"/models/{name}", None))
    except RowcastError:
        return {}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What clients notice, as far as a service tells."""
    try:
        signatures = [Signature.model_validate_json(json.dumps(one["signature"])) for one in (old, new)]
    except (KeyError, ValueError):
        return []
    return differences(*signatures)


def details_of(url: str) -> dict[str, Any]:
    """What a service says of itself in ``/readyz?verbose``.

    Raises:
        RowcastError: it cannot be reached, refuses, or is another service.
    """
    found: dict[str, Any] = ask(url, "GET", "/readyz?verbose", None)
    if not isinstance(found.get("models"), list) or not isinstance(found.get("warnings"), list):
        raise RowcastError(f"{checked_address(url).shown} must be a service of Rowcast, got an answer of another one")
    return found


def _check_found(name: str | None, models: list[Any], where: str) -> None:
    if name is not None and not models:
        raise ModelNotFound(f"no model {name!r} in {where}")


def _told_of(home: Path) -> dict[str, Any]:
    """What is said of a model; ``fault`` tells where that makes no sense, or names what is not there."""
    try:
        said, absent = what_holds(home)
        tell(absent)
        return {**_told(said), "fault": "; ".join(absent) or None}
    except ModelRefused as error:
        return {**_told(Rollout()), "fault": str(error)}


def _told(said: Rollout) -> dict[str, Any]:
    trials = said.model_dump(include=set(TRIALS))
    return {"live": said.live, **trials, "history": [one.model_dump(by_alias=True) for one in said.history]}


def _trials(model: dict[str, Any]) -> list[tuple[int, str]]:
    """The version that is on trial, as what and for which share of the requests; twice where it is both."""
    found = [(what, model[what]) for what in TRIALS if model[what] is not None]
    return [(one["version"], f"{what} {percent(one['share'])}") for what, one in found]


def _list(versions: list[int]) -> str:
    return ",".join(map(str, versions))


def _last(history: list[dict[str, Any]]) -> str:
    return "" if not history else "{time}  {from} -> {to}  {who}: {why}".format(**history[-1])


def _print_repository(found: dict[str, Any], as_json: bool) -> None:
    rows = []
    for model in found["models"]:
        trials = ", ".join(f"{version} {share}" for version, share in _trials(model))
        last = model["fault"] or _last(model["history"])
        rows.append((model["name"], str(model["live"] or "newest"), _list(model["versions"]), trials, last))
    print_table(("NAME", "CHOSEN", "VERSIONS", "ON TRIAL", "LAST CHANGE"), rows, aside=as_json)


def _print_service(found: dict[str, Any], as_json: bool) -> None:
    rows = []
    for model in found["models"]:
        if model["version"] is not None:
            rows.append((model["name"], str(model["version"]), "served", "; ".join(model["warnings"])))
        rows += [(model["name"], str(version), share, "") for version, share in _trials(model)]
        rows += [(model["name"], str(one["version"]), "not served", one["reason"]) for one in model["not_served"]]
    print_table(("NAME", "VERSION", "STATE", "REASON"), rows, aside=as_json)
    for warning in found["warnings"]:
        progress_console.print(warning, soft_wrap=True)


def alias(
    model: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="A model of the repository.")],
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="What it is to be called: NAME@ALIAS.")],
    remove: Annotated[bool, typer.Option("--remove", help="Nothing is called so any more.")] = False,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Call a version something, the newest unless one is named: NAME@ALIAS stands for it wherever NAME:VERSION does."""
    plain, version = name_and_version(model, repository)
    if remove and version is not None:
        raise ConfigError(f"an alias is removed by its name alone: rowcast models alias {plain} {name} --remove")
    home = Repository(repository).resolve(plain, version)
    said = name_version(home.parent, name, None if remove else int(home.name), operator())
    tell(absent_versions(plain, said, Repository(repository).versions(plain)))
    words = f"{plain}@{name} is no more" if remove else f"{plain}@{name} is {plain}:{home.name}"
    print_result(words, aside=as_json)
    if as_json:
        print(json.dumps({"name": plain, "aliases": said.aliases}))


def ask(url: str, method: str, path: str, content: Any) -> Any:
    """What a service answers.

    Raises:
        RowcastError: it cannot be reached, or refuses.
    """
    import httpx

    address, key = checked_address(url), key_of_environment()
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    transport = None if address.socket is None else httpx.HTTPTransport(uds=address.socket)
    base = f"{address.scheme}://{address.authority}{address.prefix}"
    try:
        with httpx.Client(transport=transport, trust_env=not address.is_local, timeout=_SECONDS) as client:
            answer = client.request(method, base + path, json=content, headers=headers)
            told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise RowcastError(
            f"{address.shown} must be a service of Rowcast, got: {error or type(error).__name__}"
        ) from None
    if answer.status_code not in (200, 503) or not isinstance(told, dict) or "error" in told:
        reason = told.get("error") if isinstance(told, dict) else None
        raise RowcastError(f"{address.shown} refuses with {answer.status_code}: {reason or 'it says nothing'}")
    return told
