"""What may be done to a rollout: begun, ended either way, and what is live chosen. Each is one change of the file.

An operator changes what he has seen: where somebody else was faster, nothing is changed and he is told.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from rowcast.models.errors import ModelError
from rowcast.models.names import is_alias
from rowcast.models.rollout.aliases import live_version
from rowcast.models.rollout.file import ROLLOUT_FILE, change_rollout
from rowcast.models.rollout.record import Guards, OnTrial, Rollout, now


def served_beside(said: Rollout, versions: list[int], version: int) -> int | None:
    """The version that is served where this one is not, as far as the repository tells; None for none.

    Where this very version is live by itself, it is the one before.
    """
    last = said.last_live
    known = [said.served, said.live] + ([] if last is None else [last.after, last.before])
    for one in known:
        if one is not None and one != version and one in versions:
            return one
    return max((one for one in versions if one != version), default=None)


def served_before(said: Rollout, versions: list[int], version: int) -> int | None:
    """The version that this one takes the place of: itself, where it was chosen already."""
    return version if said.live == version else served_beside(said, versions, version)


def choose_version(
    home: Path,
    version: int,
    versions: list[int],
    who: str,
    before: int | None,
    *,
    allow_signature_change: bool,
    why: str = "promoted",
    seen: Rollout | None = None,
) -> Rollout:
    """Write down that somebody chose a version. If it was on trial, the trial ends.

    Args:
        home: the folder of the model.
        version: what is to be served.
        versions: those that there are.
        who: chose it.
        before: the version that was served, as far as is known.
        allow_signature_change: whether its signature may be another one.
        why: for the history.
        seen: what he has seen said before; None if that is no matter.

    Raises:
        ModelError: it cannot be written down; or another version is on trial.
    """

    def chosen(said: Rollout) -> Rollout:
        if said.trial not in (None, version):
            raise _on_trial(home, said)
        allowed = {one for one in said.allowed if one in versions} | ({version} if allow_signature_change else set())
        update = {"live": version, "newest": max(versions), "allowed": tuple(sorted(allowed))}
        if said.live == version and said.trial is None:  # it is what was chosen last: nothing else answers since
            return said.model_copy(update=update)
        return said.without_trial().with_change(who, before, version, why).model_copy(update=update)

    return _changed(home, chosen, seen)


def begin_trial(
    home: Path,
    version: int,
    versions: list[int],
    who: str,
    live: int,
    *,
    canary: float | None,
    shadow: float | None,
    guards: Guards,
    promote_after: float | None,
    seen: Rollout | None = None,
) -> Rollout:
    """Write down that a version is on trial, or that its trial goes on in another way.

    Args:
        home: the folder of the model.
        version: that is on trial.
        versions: those that there are.
        who: says so.
        live: the version that is served beside it.
        canary: share of the requests that it answers; None for none.
        shadow: share of the requests that it is run on; None for none.
        guards: what it must keep to.
        promote_after: seconds after which it is promoted if it does.
        seen: what he has seen said before; None if that is no matter.

    Raises:
        ModelError: it cannot be written down; or another version is on trial.
    """

    def begun(said: Rollout) -> Rollout:
        if said.trial not in (None, version):
            raise _on_trial(home, said)
        update = {
            "live": live,
            "newest": max(versions),
            "canary": None if canary is None else OnTrial(version=version, share=canary),
            "shadow": None if shadow is None else OnTrial(version=version, share=shadow),
            "guards": guards,
            "promote_after": promote_after,
            "since": now(),
        }
        after = said.model_copy(update=update)
        return after.with_change(who, live, version, after.told(), "shadow" if canary is None else "canary")

    return _changed(home, begun, seen)


def end_trial(
    home: Path,
    since: str,
    how: Literal["rollback", "promoted"],
    who: str,
    why: str,
    tried: int | None = None,
) -> Rollout:
    """Write down how the trial ended that began at a moment; nothing, where that one is over already.

    Args:
        home: the folder of the model.
        since: when it began.
        how: it ended.
        who: ended it.
        why: for the history.
        tried: the version that was on trial; None for whichever the file says.

    Raises:
        ModelError: it cannot be written down; or the file has another version in its place, as nobody but an editor
            writes.
    """

    def ended(said: Rollout) -> Rollout:
        version = said.trial
        if said.since != since or version is None:
            return said
        if tried not in (None, version):
            raise ModelError(f"{home / ROLLOUT_FILE} has {home.name}:{version} on trial in the place of {tried}")
        if how == "promoted":
            return said.without_trial().with_change(who, said.live, version, why).model_copy(update={"live": version})
        return said.without_trial().with_change(who, version, said.live, why, "rollback")

    return _changed(home, ended, None)


def roll_back(home: Path, version: int | None, versions: list[int], who: str, seen: Rollout) -> Rollout:
    """Write down that a trial is over; or, where there is none, that the version before is served again.

    Args:
        home: the folder of the model.
        version: that is to go; None for whichever it is.
        versions: those that there are.
        who: says so.
        seen: what he has seen said before.

    Raises:
        ModelError: it cannot be written down; or there is nothing to go back to.
    """
    if seen.since is not None and version in (None, seen.trial):
        return end_trial_as_seen(home, who, seen)
    last, live = seen.last_live, live_version(seen, versions)
    if version not in (None, live):
        what = f"{seen.trial} is on trial" if seen.trial is not None else f"{live or 'the newest'} is served"
        raise ModelError(f"what is rolled back must be on trial or live, got {home.name}:{version}: version {what}")
    if last is None or last.after != live or last.before is None:
        raise ModelError(
            f"{home / ROLLOUT_FILE} tells of no version that was served before: `rowcast rollout "
            f"{home.name}:VERSION --promote` names one"
        )
    if last.before not in versions:
        raise ModelError(f"{home.name}:{last.before}, which was served before, is not in the repository any more")
    return choose_version(
        home, last.before, versions, who, live, allow_signature_change=True, why="rolled back", seen=seen
    )


def end_trial_as_seen(home: Path, who: str, seen: Rollout) -> Rollout:
    """Write down that somebody ended the trial that he has seen.

    Raises:
        ModelError: it cannot be written down.
    """

    def ended(said: Rollout) -> Rollout:
        return said.without_trial().with_change(who, said.trial, said.live, "rolled back", "rollback")

    return _changed(home, ended, seen)


def name_version(home: Path, alias: str, version: int | None, who: str) -> Rollout:
    """Write down what a version is called, or that an alias is none any more.

    Args:
        home: the folder of the model.
        alias: what it is called.
        version: that is called so from now on; None for none.
        who: says so.

    Raises:
        ModelError: nothing may be called so; there is no such alias; or it cannot be written down.
    """
    if not is_alias(alias):
        raise ModelError(
            f"an alias must be 1 to 64 of a-z, 0-9, '_' and '-', begin with a letter, and not be latest or live, "
            f"got {alias!r}"
        )

    def named(said: Rollout) -> Rollout:
        before = said.aliases.get(alias)
        if before is None and version is None:
            known = ", ".join(sorted(said.aliases)) or "none"
            raise ModelError(f"no version of {home.name} is called {alias!r}; aliases: {known}")
        if before == version:
            return said
        aliases = {name: one for name, one in said.aliases.items() if name != alias}
        if version is not None:
            aliases[alias] = version
        after = said.with_change(who, before, version, f"alias {alias}", "alias")
        return after.model_copy(update={"aliases": dict(sorted(aliases.items()))})

    return _changed(home, named, None)


def what_names(said: Rollout, version: int) -> list[str]:
    """Why somebody may miss a version that is removed: a sentence's part each; empty where nobody does.

    Args:
        said: what is said of its model.
        version: that is to be removed.
    """
    found = []
    if version == said.served:
        found.append("services serve it")
    if version == said.live:
        found.append("it was chosen to be served")
    if version == said.trial:
        found.append(f"it is on trial ({said.told()})")
    called = [alias for alias, one in said.aliases.items() if one == version]
    return found + ([f"it is called {', '.join(called)}"] if called else [])


def forget_version(home: Path, version: int, who: str) -> Rollout:
    """Write down that a version is to be removed: its trial is over, nothing is called by it, nothing is allowed to it.

    A choice stays: services go back by the history.

    Args:
        home: the folder of the model.
        version: that is to be removed.
        who: says so.

    Raises:
        ModelError: it cannot be written down.
    """

    def forgotten(said: Rollout) -> Rollout:
        after = said
        if said.trial == version:
            after = after.without_trial().with_change(who, version, said.live, "removed", "rollback")
        for alias in [alias for alias, one in said.aliases.items() if one == version]:
            after = after.with_change(who, version, None, f"alias {alias}", "alias")
        aliases = {alias: one for alias, one in said.aliases.items() if one != version}
        allowed = tuple(one for one in said.allowed if one != version)
        return after.model_copy(update={"aliases": aliases, "allowed": allowed})

    return _changed(home, forgotten, None)


def _changed(home: Path, change: Callable[[Rollout], Rollout], seen: Rollout | None) -> Rollout:
    def checked(said: Rollout) -> Rollout:
        if seen is not None and said != seen:
            raise ModelError(
                f"somebody else was first: {last_change(home, said)}. Look, and try again: nothing was changed"
            )
        return change(said)

    try:
        return change_rollout(home, checked)
    except OSError as error:
        raise ModelError(f"{home / ROLLOUT_FILE} cannot be written: {error.strerror}") from None


def last_change(home: Path, said: Rollout) -> str:
    """What was done last of a model, and by whom."""
    if not said.history:
        return f"{home / ROLLOUT_FILE} is another"
    last = said.history[-1]
    what = {"live": "served", "rollback": "answer again", "alias": f"called {last.why.removeprefix('alias ')}"}
    done = what.get(last.what, f"on trial ({last.why})")
    return f"{last.who} had {home.name}:{last.after} {done} at {last.time}"


def _on_trial(home: Path, said: Rollout) -> ModelError:
    return ModelError(
        f"one version of {home.name} is on trial at a time, and {home.name}:{said.trial} is ({said.told()}): end that "
        f"with `rowcast rollout {home.name} --promote` or `--rollback`"
    )
