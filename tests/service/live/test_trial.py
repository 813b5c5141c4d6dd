"""What a version has to pass before it goes live, and what is told of one that does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rowcast.models.interface import differences
from rowcast.models.signature import Signature
from rowcast.service.engine.catalog import CatalogOwner, Entry
from rowcast.service.engine.versions import choose
from rowcast.service.live.candidate import Candidate, try_version
from rowcast.service.live.checks import Refused, check_runs
from rowcast.service.live.staging import Interrupted
from rowcast.service.settings import Settings
from tests.service.live.versions import graph, moody_graph, nan_graph, publish, publish_graph, slow_graph
from tests.support import handmade

B, COLUMNS = handmade.BINARY, handmade.COLUMNS


TWO_STOPS = B.model_copy(
    update={"columns": tuple(c.model_copy(update={"example": 2}) if c.name == "stops" else c for c in COLUMNS)}
)
"""The signature of a version whose example has two stops."""


def changed(*columns: object, **update: object) -> Signature:
    return B.model_copy(update={"columns": columns or COLUMNS, **update})


DIFFERENCES = {
    "none": (changed(), []),
    "what training saw": (changed(COLUMNS[0].model_copy(update={"median": 1.0}), *COLUMNS[1:]), []),
    "nullable now": (changed(COLUMNS[0].model_copy(update={"nullable": True}), *COLUMNS[1:]), []),
    "a column less": (changed(*COLUMNS[1:]), ["without 'distance'"]),
    "a column more": (
        changed(*COLUMNS, COLUMNS[0].model_copy(update={"name": "extra"})),
        ["with 'extra'"],
    ),
    "another kind": (
        changed(COLUMNS[0].model_copy(update={"kind": "integer"}), *COLUMNS[1:]),
        ["'distance' is integer, no longer number"],
    ),
    "not nullable any more": (
        changed(*COLUMNS[:2], COLUMNS[2].model_copy(update={"nullable": False}), *COLUMNS[3:]),
        ["'night' may not be left out any more"],
    ),
    "another order": (changed(*COLUMNS[::-1]), ["its columns are in another order"]),
    "other classes": (
        changed(classes=("late", "on time")),
        ["its classes are 'late', 'on time', no longer 'on time', 'late'"],
    ),
    "another task": (
        handmade.REGRESSION,
        [
            "it is regression, no longer binary",
            "it predicts 'delay', no longer 'late'",
            "it answers prediction, lower, upper, no longer label, probabilities",
        ],
    ),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_what_clients_would_notice_is_a_difference_and_what_training_saw_is_none(case: str) -> None:
    new, expected = DIFFERENCES[case]
    assert differences(B, new) == expected


GRAPHS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "no graph": (lambda: b"no graph", "damaged", "ONNX Runtime cannot load the graph"),
    "cut": (lambda: graph(1.0)[:-40], "damaged", "ONNX Runtime cannot load the graph"),
    "NaN": (nan_graph, "not_finite", "it answers rows whose every value is missing with a number that is not finite"),
    "slow": (slow_graph, "slow", "a row must take at most 0.25 s, got .* for rows whose every value is missing"),
    "slow on its example": (lambda: slow_graph(beyond=0.5), "slow", r"got \d.\d\d s for its own example"),
    "slow on the last example": (lambda: slow_graph(beyond=1.5), "slow", "for the example of the version that is se"),
    "slow on a value": (lambda: slow_graph(beyond=2.5), "slow", "for a row made from its signature"),
    "NaN on a value": (
        lambda: moody_graph(1.5e307),
        "not_finite",
        "it answers a row made from its signature with a number that is not finite",
    ),
    "another signature": (lambda: graph(1.0, handmade.REGRESSION), "damaged", "differs from the one in model.json"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_version_that_cannot_serve_is_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    make, kind, words = GRAPHS[case]
    with pytest.raises(Refused, match=words) as refused:
        check_runs(publish_graph(tmp_path, make()), TWO_STOPS, "cpu")
    assert refused.value.kind == kind


def test_a_good_version_passes_with_the_example_of_the_last_one(tmp_path: Path) -> None:
    check_runs(publish(tmp_path, 2.0), B, "cpu")
    check_runs(publish(tmp_path, 2.0), None, "cpu")


def test_the_example_of_the_last_version_has_to_be_taken(tmp_path: Path) -> None:
    old = changed(*COLUMNS, COLUMNS[0].model_copy(update={"name": "extra"}))
    with pytest.raises(Refused, match=r"it does not take the example of the version that is served: rows\[0\].extra"):
        check_runs(publish(tmp_path, 2.0), old, "cpu")


@pytest.fixture
def owner(tmp_path: Path) -> CatalogOwner:
    publish(tmp_path, 1.0)
    made = CatalogOwner()
    made.publish(choose(Settings(repository=tmp_path, device="cpu")))
    return made


def tried(root: Path, owner: CatalogOwner, version: int, **options: bool) -> Entry:
    candidate = Candidate("flights", version, root / "flights" / str(version), **options)
    (old,) = owner.catalog.entries
    return try_version(candidate, old, owner, device="cpu", workers=2, stop=lambda: False)


def test_a_process_of_its_own_tries_a_version_and_hands_over_the_bytes_that_it_tried(
    tmp_path: Path, owner: CatalogOwner
) -> None:
    publish(tmp_path, 2.0)
    entry = tried(tmp_path, owner, 2)
    shutil.rmtree(tmp_path / "flights")
    assert entry.open().graph == graph(2.0)
    with pytest.raises(OSError, match="not permitted"), open(entry.held_at, "r+b") as file:
        file.write(b"x")

    held = len(owner._held)
    with pytest.raises(Refused, match="3 was removed while it was read") as refused:
        tried(tmp_path, owner, 3)
    assert (refused.value.kind, len(owner._held)) == ("damaged", held)


def test_another_signature_is_refused_with_the_columns_that_come_and_go_unless_it_is_allowed(
    tmp_path: Path, owner: CatalogOwner
) -> None:
    publish(tmp_path, 2.0, handmade.REGRESSION)
    with pytest.raises(Refused, match="its signature is not that of flights:1: it is regression") as refused:
        tried(tmp_path, owner, 2)
    assert refused.value.kind == "signature"
    assert str(refused.value).endswith("rowcast models promote flights:2 --allow-signature-change")
    assert tried(tmp_path, owner, 2, allow_signature_change=True).open().manifest.signature == handmade.REGRESSION


def test_a_version_that_takes_its_process_with_it_is_refused(
    tmp_path: Path, owner: CatalogOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process loads a module that ends it as a faulty graph would."""
    publish(tmp_path, 2.0)
    (tmp_path / "code").mkdir()
    faulty = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (tmp_path / "code" / "onnxruntime.py").write_text(faulty)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "code")]))
    with pytest.raises(Refused, match="it ended the process that tried it, by SIGSEGV") as refused:
        tried(tmp_path, owner, 2)
    assert refused.value.kind == "crashed"


def test_where_memory_runs_out_the_kernel_takes_the_process_that_tries_a_version_first(
    tmp_path: Path, owner: CatalogOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, 2.0)
    (tmp_path / "code").mkdir()
    killed = f"""import os, signal
open({str(tmp_path / "score")!r}, "w").write(open("/proc/self/oom_score_adj").read())
os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "code" / "onnxruntime.py").write_text(killed)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    with pytest.raises(Refused, match=r"that tried it, by SIGKILL \(as happens when memory is short\)") as refused:
        tried(tmp_path, owner, 2)
    assert refused.value.kind == "memory"  # of this machine, whatever the version is
    assert (tmp_path / "score").read_text() == "1000\n"


def test_a_service_that_stops_says_nothing_of_the_version_that_it_tries(tmp_path: Path, owner: CatalogOwner) -> None:
    publish_graph(tmp_path, slow_graph(20_000_000))
    candidate = Candidate("flights", 2, tmp_path / "flights/2")
    (old,) = owner.catalog.entries
    held = len(owner._held)
    with pytest.raises(Interrupted, match="the service stops"):
        try_version(candidate, old, owner, device="cpu", workers=2, stop=lambda: True)
    assert len(owner._held) == held
