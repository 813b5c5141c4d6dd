"""The table of protocols, in Markdown. No part of what is measured: to change it here costs no new measurement."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.cells import machine
from benchmarks.serving.harness.duel import QUIET, Load, Plan
from benchmarks.serving.harness.table import line, median
from benchmarks.serving.tensors.contenders import PEER_LIST, UNSPOKEN
from benchmarks.serving.tensors.duel import LOADS
from benchmarks.serving.tensors.wire import PROTOCOLS, V2_JSON, Protocol

Cells = dict[tuple[str, str, str], dict[str, Any]]
"""By protocol, peer and load."""


def share(rounds: Sequence[dict[str, Any]], bare: Sequence[dict[str, Any]], load: Load) -> float | None:
    """Rows a second over those of bare runs in the same rounds; None where there are none."""
    shares = [one["rate"] * load.rows / alone["rows_per_s"] for one, alone in zip(rounds, bare, strict=False)]
    return statistics.median(shares) if shares else None


def report(cells: Cells, plan: Plan) -> str:
    """The table, in Markdown."""
    dates = sorted({str(found["date"]) for found in cells.values() if "date" in found})
    everything = [one for found in cells.values() for side in ("ours", "theirs") for one in found.get(side, ())]
    out = [
        "# Protocols, side by side",
        "",
        (
            f"{' to '.join(dict.fromkeys((dates[0], dates[-1]))) if dates else 'Nothing measured'}, {machine()}. "
            "One worker on one core, the client on another, a tensor or an Arrow column for each of the model's. "
            f"Medians over {plan.rounds} rounds of {plan.seconds:g} s and as long as the last answers take; each "
            "peer's rounds alternate with Rowcast's. *Times* is Rowcast's figure over the peer's in the same rounds, "
            "of requests/s and of requests per CPU second: above 1, Rowcast is faster. *Of bare* is rows/s over those "
            "of ONNX Runtime alone in the same rounds, on the same core, a request's rows a run; requests that are "
            "joined into larger runs can come to more."
        ),
    ]
    for protocol in PROTOCOLS:
        out += ["", f"## {protocol.title}", "", *_section(protocol, cells)]
    noise = statistics.quantiles([float(one["others"]) for one in everything], n=10) if len(everything) > 1 else [0.0]
    out += [
        "",
        (
            "† the client used more than 90% of its core: the server may be faster. "
            f"\\* others used more than {QUIET:.0%} of a core in most rounds: rates say little, CPU a little more. "
            f"Over all rounds others used {noise[len(noise) // 2]:.0%} of a core in the median, {noise[-1]:.0%} in the "
            f"noisiest tenth. No value is missing in {V2_JSON.title}, where Triton takes no null for a number."
        ),
    ]
    return "\n".join(out) + "\n"


def _section(protocol: Protocol, cells: Cells) -> list[str]:
    out = ["| | | requests/s | p50, ms | p99, ms | server CPU, µs a request | times, rate | times, CPU | of bare |"]
    out += ["|---|---|---|---|---|---|---|---|---|"]
    for load in LOADS:
        here = {peer: cells[protocol.name, peer.name, load.name] for peer in PEER_LIST if protocol in peer.protocols}
        ours = [one for found in here.values() for one in found.get("ours", ())]
        bare = [one for found in here.values() for one in found.get("bare", ())]
        if ours:
            out.append(_line(load, "**Rowcast**", ours, None, bare))
        for peer, found in here.items():
            if "reason" in found:
                why = str(found["reason"]).replace("|", "/")
                out.append(f"| {load.name} | {peer.title} | not measured: {why} | | | | | | |")
            else:
                out.append(_line(load, peer.title, found["theirs"], found["ours"], found["bare"]))
    unspoken = [(peer.title, UNSPOKEN.get((protocol.name, peer.name))) for peer in PEER_LIST]
    return out + [text for title, why in unspoken if why for text in ("", f"{title} is missing: {why}.")]


def _line(
    load: Load,
    title: str,
    rounds: Sequence[dict[str, Any]],
    against: Sequence[dict[str, Any]] | None,
    bare: Sequence[dict[str, Any]],
) -> str:
    found = share(rounds, bare, load)
    mark = "*" if bare and median(bare, "others") > QUIET else ""
    return f"| {load.name} {line(title, rounds, against)} {'' if found is None else f'{found:.2f}{mark}'} |"
