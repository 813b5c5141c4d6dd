"""The benchmark's table, in Markdown. No part of what is measured: to change it here costs no new measurement."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.cells import machine
from benchmarks.serving.harness.contenders import PEER_LIST
from benchmarks.serving.harness.duel import LOADS, QUIET, Plan

SATURATED = 0.9
"""Share of its core past which the client, and not the server, is what was measured."""


def median(rounds: Sequence[dict[str, Any]], figure: str) -> float:
    """Of one figure over rounds."""
    return statistics.median(float(one[figure]) for one in rounds)


def line(title: str, rounds: Sequence[dict[str, Any]], against: Sequence[dict[str, Any]] | None) -> str:
    """A contender's line of a load's table."""
    marks = "*" if median(rounds, "others") > QUIET else ""
    marks += "†" if median(rounds, "client_cpu") > SATURATED else ""
    failures = sum(int(one["failures"]) for one in rounds)
    title += f" ({failures:,} failed)" if failures else ""
    ratios = "", ""
    if against is not None:
        rate, cpu = (
            statistics.median(o[figure] / t[figure] for o, t in zip(against, rounds, strict=True) if t[figure])
            for figure in ("rate", "server_cpu_us")
        )
        ratios = f"{rate:.2f}", f"{1 / cpu:.2f}"
    return (
        f"| {title}{marks} | {median(rounds, 'rate'):,.0f} | {median(rounds, 'p50_ms'):.2f} "
        f"| {median(rounds, 'p99_ms'):.2f} | {median(rounds, 'server_cpu_us'):,.0f} | {ratios[0]} | {ratios[1]} |"
    )


def report(cells: dict[tuple[str, str], dict[str, Any]], ceilings: dict[str, dict[str, Any]], plan: Plan) -> str:
    """The table, in Markdown."""
    dates = sorted({str(found["date"]) for found in cells.values() if "date" in found})
    everything = [one for found in cells.values() for side in ("ours", "theirs") for one in found.get(side, ())]
    out = [
        "# Serving, side by side",
        "",
        (
            f"{' to '.join(dict.fromkeys((dates[0], dates[-1]))) if dates else 'Nothing measured'}, {machine()}. "
            "One worker on one core, the client on another. "
            f"Medians over {plan.rounds} rounds of {plan.seconds:g} s; each peer's rounds alternate with Rowcast's. "
            "*Times* is Rowcast's figure over the peer's in the same rounds, of requests/s and of requests "
            "per CPU second: above 1, Rowcast is faster."
        ),
    ]
    for load in LOADS:
        out += ["", f"## {load.name}", ""]
        out += ["| | requests/s | p50, ms | p99, ms | server CPU, µs a request | times, rate | times, CPU |"]
        out += ["|---|---|---|---|---|---|---|"]
        ours = [one for (_, name), found in cells.items() if name == load.name for one in found.get("ours", ())]
        if ours:
            out.append(line("**Rowcast**", ours, None))
        for peer in PEER_LIST:
            found = cells[peer.name, load.name]
            if "reason" in found:
                out.append(f"| {peer.title} | not measured: {str(found['reason']).replace('|', '/')} | | | | | |")
            else:
                out.append(line(peer.title, found["theirs"], found["ours"]))
    limits = ", ".join(f"{found['rate']:,.0f} ({name})" for name, found in ceilings.items())
    noise = statistics.quantiles([float(one["others"]) for one in everything], n=10) if len(everything) > 1 else [0.0]
    out += [
        "",
        (
            f"The client's ceiling, requests/s against a server that does nothing: {limits}. "
            "† the client used more than 90% of its core: the server may be faster. "
            f"\\* others used more than {QUIET:.0%} of a core in most rounds: rates say little, CPU a little more. "
            f"Over all rounds others used {noise[len(noise) // 2]:.0%} of a core in the median, {noise[-1]:.0%} in the "
            "noisiest tenth."
        ),
    ]
    return "\n".join(out) + "\n"
