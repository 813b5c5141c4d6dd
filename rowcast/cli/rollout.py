"""``rowcast rollout``: a version on trial beside the one that is served, as canary or in the shadow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_result, print_table, progress_console
from rowcast.cli.live import UrlOption, changes, check_before, details_of, operator, tell, what_holds
from rowcast.cli.named import RepositoryOption, name_and_version
from rowcast.cli.options import JsonOption
from rowcast.models.durations import seconds
from rowcast.models.errors import ConfigError, ModelError, ModelNotFound, ModelRefused
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.repository import Repository
from rowcast.models.rollout import (
    Guards,
    Rollout,
    absent_versions,
    begin_trial,
    choose_version,
    live_version,
    read_rollout,
    roll_back,
)
from rowcast.models.rollout.record import LONGEST_TRIAL_SECONDS, percent, share_of
from rowcast.models.rollout.steps import served_before, served_beside

EXAMPLE = "Example: rowcast rollout flights:3 --canary 5% --guard errors=0.1%,p99=1.2x --promote-after 30m"

_STATUS = "status"
_SHOWN_CHANGES = 20


def rollout(
    model: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="A model; or `status`, and then its name.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="After `status`: the model.")] = None,
    canary: Annotated[str | None, typer.Option(metavar="P%", help="Have it answer this share of the requests.")] = None,
    shadow: Annotated[
        str | None, typer.Option(metavar="P%", help="Run it on this share of the requests, without answering.")
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Have it answer all requests.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="End its trial; without one, go back to the version before.")
    ] = False,
    guard: Annotated[
        str | None, typer.Option(metavar="G", help="What it must keep to: errors=0.1%,p99=1.2x,disagree=5%.")
    ] = None,
    promote_after: Annotated[
        str | None, typer.Option(metavar="D", help="Promote it after so long, such as 30m, if it has.")
    ] = None,
    allow_signature_change: Annotated[
        bool,
        typer.Option("--allow-signature-change", help="With --promote: though clients have to send other columns."),
    ] = False,
    url: UrlOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Put a version on trial beside the one that is served, and end that either way; `rollout status NAME` tells of it.

    Every service of the repository follows within a second.
    """
    given = {
        "--canary": canary is not None,
        "--shadow": shadow is not None,
        "--promote": promote,
        "--rollback": rollback,
        "--guard": guard is not None,
        "--promote-after": promote_after is not None,
        "--allow-signature-change": allow_signature_change,
    }
    flags = [flag for flag, is_given in given.items() if is_given]
    if model == _STATUS:
        if name is None or flags:
            raise ConfigError(
                f"`rowcast rollout status` takes the name of a model and no {flags[0]}"
                if flags
                else "say which model: rowcast rollout status NAME"
            )
        _status(name, url, repository, as_json=as_json)
        return
    if name is not None:
        raise ConfigError(
            f"there are too many arguments, beginning with {name!r}: only `status` takes a name behind it"
        )
    if url is not None:
        raise ConfigError("--url goes with `rowcast rollout status NAME`: a rollout is written into the repository")
    _check_flags(flags)
    plain, version = name_and_version(model, repository)
    limits, after = (
        Guards() if guard is None else Guards.of(guard),
        None if promote_after is None else _seconds(promote_after),
    )
    shares = [
        None if text is None else share_of(text, flag) for text, flag in ((canary, "--canary"), (shadow, "--shadow"))
    ]
    if after is not None and limits == Guards():
        raise ConfigError("--promote-after promotes a version whose guards held: give it a --guard")
    home = Repository(repository)
    folder = home.resolve(plain, version).parent
    versions, seen = home.versions(plain), read_rollout(folder)
    tell(absent_versions(plain, seen, versions))
    if rollback:
        said = roll_back(folder, version, versions, operator(), seen)
        words = f"{plain}:{said.live} is to be served"
    elif promote:
        version = version or seen.trial
        if version is None:
            raise ConfigError(f"say which version to promote: rowcast rollout {plain}:VERSION --promote")
        before = served_before(seen, versions, version)
        stored = home.open(plain, version)
        for change in changes(stored, before, allowed=allow_signature_change):
            progress_console.print(change, soft_wrap=True)
        check_before(stored, seen)
        said = choose_version(
            folder, version, versions, operator(), before, allow_signature_change=allow_signature_change, seen=seen
        )
        words = f"{plain}:{version} is to be served"
    else:
        stored = home.open(plain, version)
        version = stored.manifest.version
        live = served_beside(seen, versions, version)
        if live is None:
            raise ModelError(f"a version is on trial beside another, and {plain}:{version} is the only one")
        changes(stored, live, allowed=False, way_out="only --promote can change that")
        check_before(stored, seen)
        last = seen.last_live
        if version in (seen.live, None if last is None else last.after):
            progress_console.print(f"{plain}:{version} is live: {plain}:{live}, the one before, takes its place")
        said = begin_trial(
            folder,
            version,
            versions,
            operator(),
            live,
            canary=shares[0],
            shadow=shares[1],
            guards=limits,
            promote_after=after,
            seen=seen,
        )
        words = f"{plain}:{version} is to be on trial beside {plain}:{live} ({said.told()})"
    print_result(
        f"{words}: services of {repository} follow within seconds; rowcast rollout status {plain} --url U tells",
        aside=as_json,
    )
    if as_json:
        print(json.dumps(_told(plain, said, home)))


def _seconds(promote_after: str) -> float:
    """How long guards have to hold.

    Raises:
        ConfigError: it is no duration, or too long.
    """
    after = seconds(promote_after, "--promote-after")
    if after > LONGEST_TRIAL_SECONDS:
        raise ConfigError(f"--promote-after must be at most {LONGEST_TRIAL_SECONDS:,} s, got {promote_after[:40]!r}")
    return after


def _check_flags(flags: list[str]) -> None:
    """Make sure that flags say one thing.

    Raises:
        ConfigError: they do not.
    """
    ways = [flag for flag in flags if flag in ("--canary", "--shadow", "--promote", "--rollback")]
    if not ways:
        raise ConfigError("say what to do: --canary P%, --shadow P%, --promote or --rollback; or rollout status NAME")
    if len(ways) > 1 and set(ways) != {"--canary", "--shadow"}:
        raise ConfigError(f"a rollout goes one way at a time, got {' and '.join(ways)}")
    begins = ways[0] in ("--canary", "--shadow")
    for flag, fits in (
        ("--guard", begins),
        ("--promote-after", begins),
        ("--allow-signature-change", ways == ["--promote"]),
    ):
        if flag in flags and not fits:
            wanted = "--promote" if flag == "--allow-signature-change" else "--canary or --shadow"
            raise ConfigError(f"{flag} goes with {wanted}, got {ways[0]}")


def _status(name: str, url: str | None, repository: Path, *, as_json: bool) -> None:
    """Tell of the rollout of a model: by what the repository says, and by what a service has measured."""
    if url is None:
        home = Repository(repository)
        said, absent = what_holds(home.resolve(name).parent)
        tell(absent)
        told = _told(name, said, home) | {"fault": "; ".join(absent) or None}
    else:
        found = details_of(url)
        models = {model["name"]: model for model in found["models"]}
        for warning in found["warnings"]:
            progress_console.print(warning, soft_wrap=True)
        if name not in models:
            raise ModelNotFound(f"no model {name!r} in {url}")
        told = {"name": name, "live": models[name]["version"], **models[name]["rollout"]}
        own = _told(name, _said(repository / name), Repository(repository))
        told |= {"history": own["history"], "fault": "; ".join(found["warnings"]) or None}
    if told["shadow"] is not None and told["measured"] is not None:
        told["shadow"] |= told["measured"]["compared"]
    _print(told, as_json=as_json)
    if as_json:
        print(json.dumps(told))


def _said(folder: Path) -> Rollout:
    """What the repository says that is at hand, which may be another than the service's."""
    try:
        return read_rollout(folder)
    except ModelRefused:
        return Rollout()


def _told(name: str, said: Rollout, home: Repository) -> dict[str, Any]:
    """What the repository says."""
    from rowcast.service.live.figures import read_figures, read_waits

    folder, versions = home.root / name, home.versions(name)
    return {
        "name": name,
        "live": live_version(said, versions),
        **json.loads(said.model_dump_json(include={"canary", "shadow", "guards", "promote_after", "since", "aliases"})),
        "promotion_waits_for": None if said.since is None else read_waits(folder, said.since) or None,
        "measured": None if said.since is None else read_figures(folder, said.since),
        "history": [json.loads(one.model_dump_json(by_alias=True)) for one in said.history],
        "fault": "; ".join(absent_versions(name, said, versions)) or None,
    }


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    """Tell a person."""
    lines = [f"{told['name']}:{told['live']} is live" if told["live"] else f"no version of {told['name']} is live"]
    for what in ("canary", "shadow"):
        one = told[what]
        if one is not None:
            share = percent(one["share"])
            does = f"answers {share} of the requests" if what == "canary" else f"is run on {share} of the requests"
            lines.append(f"{told['name']}:{one['version']} {does}, since {told['since']}")
    if told["since"] is not None:
        guards = str(Guards(**told["guards"]))
        after = "" if told["promote_after"] is None else f", promoted after {told['promote_after']:g} s if they hold"
        lines.append(f"guards: {guards or 'none'}{after}")
        if waits := told.get("promotion_waits_for"):  # a service of an earlier version does not say
            lines.append(f"before it is promoted it waits: {waits}")
        lines += _measured(told["measured"])
    lines += [f"{told['name']}@{alias} is {told['name']}:{version}" for alias, version in told["aliases"].items()]
    for line in lines:
        print_result(line, aside=as_json)
    if told["history"] and not as_json:
        rows = [tuple(str(one[key]) for key in ("time", "what", "from", "to", "who", "why")) for one in told["history"]]
        print_table(("TIME", "WHAT", "FROM", "TO", "WHO", "WHY"), rows[-_SHOWN_CHANGES:])


def _measured(measured: dict[str, Any] | None) -> list[str]:
    if measured is None:
        return ["no service has measured anything of it"]
    lines = []
    for side in ("live", "trial"):
        one = measured[side]
        if one["requests"]:
            p99 = "none answered" if one["p99_ms"] is None else f"p99 {one['p99_ms']:.1f} ms"
            lines.append(f"{side}: {one['requests']:,} requests, {percent(one['failed'])} failed, {p99}")
    both = measured["compared"]
    if both["rows"]:
        lines.append(
            f"compared: {both['rows']:,} rows; {percent(both['labels_differ'])} of the labels differ, "
            f"{percent(both['disagree'])} disagree; difference {both['mean_difference']:.4g} in the mean, "
            f"{both['largest_difference']:.4g} at most; p99 of a run {_ms(both['trial_run_p99_ms'])}, "
            f"live {_ms(both['live_run_p99_ms'])}; {both['dropped_runs']:,} runs were not compared"
        )
    if both["failed_runs"]:
        lines.append(f"{both['failed_runs']:,} of its runs in the shadow failed")
    return lines or ["nothing was measured yet"]


def _ms(value: float | None) -> str:
    return "not known yet" if value is None else f"{value:.2f} ms"
