"""A text is read word by word in the graph as in training; which columns are read so; and no rare word is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import polars as pl
import pytest
import safetensors.numpy
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rowcast
from rowcast.models.session import Session
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.infer import infer_columns
from rowcast.training.columns.texts import WordLimits
from rowcast.training.columns.words import WORDS_READ, forms_in, forms_of, word_of, word_vocabulary, words_in
from rowcast.training.data.table import read_table
from rowcast.training.export.words import put_words
from rowcast.training.features.words import WordBags
from rowcast.training.fit.augment import Augment, AugmentConfig
from rowcast.training.fit.loop import Batch
from rowcast.training.network.embedding import WordEmbedding

LIMITS = WordLimits(most=100)
GOOD, BAD = ["great", "lovely", "fast"], ["awful", "broken", "late"]
PLAIN = ["the", "box", "came", "to", "our", "door", "in", "a", "van", "and", "it", "was", "big"]


def objects(*texts: str) -> np.ndarray:
    return np.array(texts, object)


# ─── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ("good", "good"),
        ("Good", "good"),
        ("GOOD!", "good"),
        ("gOOD", None),
        ("good!!", None),
        ("(good)", "(good)"),
        ("Mr.", "mr"),
        (".", None),
        ("-", "-"),
        ("3.5", "3.5"),
        ("Élan,", "élan"),
        ("STRASSE", "strasse"),
        ("straße", "straße"),
    ],
)
def test_a_word_is_known_in_small_letters_with_a_capital_or_in_capitals_and_before_a_mark(
    form: str, word: str | None
) -> None:
    assert word_of(form) == word
    assert word is None or form in forms_of(word)


def test_a_word_is_known_that_ten_rows_hold_and_as_many_do_not() -> None:
    texts = ["the Box" if i < 10 else "the van, van" if i < 19 else "the" for i in range(30)]
    assert word_vocabulary(objects(*texts, *["", " "] * 5), 10, 100) == {"box": 10}
    assert word_vocabulary(objects(*texts), 9, 100) == {"box": 10, "van": 9}
    assert word_vocabulary(objects(*texts), 9, 1) == {"box": 10}


def test_which_words_a_text_holds_is_told_once_each_and_of_its_first_words_alone() -> None:
    forms = forms_in(["box", "van"])
    far = " ".join(["x"] * (WORDS_READ - 1))
    found = words_in(objects("Van! box BOX", "", "a\tbox", f"{far} box van", "van"), forms)
    assert found.tolist() == [[0, 1], [-1, -1], [-1, -1], [0, -1], [1, -1]]


# ─── the graph reads as training does ────────────────────────────────────────────────────────────────────────────────

KNOWN = ["box", "van", "é", "straße", "mr", "1", "-", "\U0001f600"]
BAGS = WordBags({"note": KNOWN, "other": ["box"]}, {"note": ("", "no note", "1"), "other": ("",)})


@pytest.fixture(scope="module")
def graph_bags() -> ort.InferenceSession:
    """A graph of nothing but the nodes that read words."""
    inputs = {name: ir.val(name, ir.DataType.STRING, ["rows", 1]) for name in ("note", "other")}
    nodes: list[ir.Node] = []
    constants: list[ir.Value] = []

    def node(op: str, values: Any, name: str, attributes: Any = None, domain: str = "", outputs: int = 1) -> ir.Value:
        nodes.append(ir.node(op, list(values), dict(attributes or {}), domain=domain, num_outputs=outputs))
        return nodes[-1].outputs[0]

    def constant(name: str, array: np.ndarray) -> ir.Value:
        text = array.dtype == object
        tensor = ir.StringTensor([str(array).encode()], shape=ir.Shape([]), name=name) if text else ir.tensor(array)
        constants.append(ir.val(name, const_value=tensor))
        return constants[-1]

    out = node("Concat", put_words(BAGS, inputs, node, constant), "bags", {"axis": 1})
    out.name, out.type, out.shape = "bags", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["rows", BAGS.width])
    graph = ir.Graph(inputs.values(), [out], nodes=nodes, initializers=constants, opset_imports={"": 20}, name="words")
    proto = ir.serde.serialize_model(ir.Model(graph, ir_version=10))
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


PARTS = st.one_of(
    st.sampled_from([form for word in KNOWN for form in forms_of(word)]),
    st.sampled_from(
        [" ", "  ", "\t", "\n", "\0", "\u00a0", "\u3000", "\r\n", "no note", "no", "STRASSE", "Ё", "\u0301"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
TEXTS = st.lists(PARTS, max_size=12).flatmap(lambda parts: st.sampled_from(["", " "]).map(lambda by: by.join(parts)))


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
@example([("no note", "box"), ("no note ", "Box."), ("1", ""), ("1,", " ")])
@example([("", "")])
@example([(" ".join(["x"] * (WORDS_READ - 1) + ["box", "van"]), " " * 100 + "box")])
@example([("é" * 100_000 + " van", "box " * 5_000), ("", "")])
@settings(max_examples=60, deadline=None)
def test_the_graph_finds_the_words_that_training_finds(
    graph_bags: ort.InferenceSession, rows: list[tuple[str, str]]
) -> None:
    columns = {"note": objects(*(row[0] for row in rows)), "other": objects(*(row[1] for row in rows))}
    expected = BAGS.of(BAGS.places(columns))
    assert expected is not None
    found = graph_bags.run(None, {name: texts.reshape(-1, 1) for name, texts in columns.items()})[0]
    assert found.tolist() == expected.tolist()


def test_a_missing_text_is_told_from_one_without_a_known_word() -> None:
    bags = BAGS.of(BAGS.places({"note": objects("", "no note", "x", "van"), "other": objects("a", "a", "a", "a")}))
    assert bags is not None
    assert bags[:, [0, 2]].tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]


def test_a_text_is_the_sum_of_its_words_over_the_root_of_how_many_they_are() -> None:
    embedding = WordEmbedding([3, 2], 4)
    with torch.no_grad():
        embedding.none[:] = torch.tensor([[7.0], [9.0]])
    out = embedding(torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0]]))
    a, b, c = embedding.weight[1], embedding.weight[2], embedding.weight[4]
    assert torch.allclose(out[0], torch.cat([(a + b) / 2**0.5, c]))
    assert out[1].tolist() == [0.0] * 4 + [9.0] * 4  # what is missing has no vector before a row taught one


def test_rows_that_are_changed_in_training_keep_or_lose_whole_texts() -> None:
    words = torch.arange(200, dtype=torch.int32).reshape(100, 2)
    batch = Batch(torch.zeros(100, 1), torch.zeros(100, 0, dtype=torch.int64), torch.zeros(100), words=words)
    swapped = Augment(AugmentConfig(swap=0.5), batch, 0)(batch).words
    assert swapped is not None
    assert torch.equal(swapped[:, 1] - swapped[:, 0], torch.ones(100, dtype=torch.int32))
    assert 20 < int((swapped[:, 0] != words[:, 0]).sum()) < 80
    hidden = Augment(AugmentConfig(missing=0.5), batch, 0)(batch).words
    assert hidden is not None
    assert 60 < int((hidden == -1).sum()) < 140


# ─── which columns are read so ───────────────────────────────────────────────────────────────────────────────────────


def reviews(rows: int, seed: int = 0) -> pl.DataFrame:
    """Texts that hardly repeat, whose good and bad words tell the target."""
    rng = np.random.default_rng(seed)
    notes, target = [], []
    for i in range(rows):
        good = bool(rng.integers(0, 2))
        words = [*rng.choice(PLAIN, 6), str(rng.choice(GOOD if good else BAD)), f"order{seed}{i}"]
        notes.append(" ".join(map(str, rng.permutation(words))).capitalize() + str(rng.choice(["", ".", "!"])))
        target.append("good" if good else "bad")
    return pl.DataFrame({"note": notes, "x": rng.normal(size=rows), "y": target})


def kind_of(notes: list[str | None], *, text: bool = False, most: int = 100) -> tuple[str, list[str]]:
    table = read_table(pl.DataFrame({"note": pl.Series(notes, dtype=pl.String)}))
    declared = Declared({"note": "text"} if text else {})
    rules, decisions = infer_columns(table, declared=declared, words=WordLimits(most=most))
    return rules[0].kind if rules else "dropped", decisions


def test_texts_that_repeat_no_level_but_words_are_read_word_by_word() -> None:
    notes = reviews(600)["note"].to_list()
    words = "which of 19 words that training rows share stand among the first 256 of a text, with spaces between"
    assert kind_of(notes) == (
        "text",
        [f"'note' is read word by word: {words}; leave it out with --drop note"],
    )
    assert kind_of([None if i % 9 == 0 else note for i, note in enumerate(notes)])[0] == "text"


def test_what_is_too_little_to_learn_words_from_is_dropped_and_says_why() -> None:
    notes = reviews(600)["note"].to_list()
    kind, (decision,) = kind_of(notes[:499])
    assert kind == "dropped"
    why = "fewer than 500 training rows hold a text, which --text note overrules; keep it with --keep note"
    assert decision.endswith(f"; nor are its words read: {why}")
    assert kind_of([f"{i} a{i} b{i}" for i in range(600)], text=True)[1][0].endswith(
        "not by all; keep it with --keep note"
    )
    codes = [f"{i} a{i} b{i}" for i in range(600)]
    assert "none of them is held by 10 training rows and not by all" in kind_of(codes)[1][0]
    few = [f"{'red' if i % 2 else 'blue'} a{i} b{i}" for i in range(600)]
    assert "only 2 of them is held by 10 training rows and not by all" in kind_of(few)[1][0]
    rarely = [note if i < 250 else f"a{i} b{i} c{i}" for i, note in enumerate(notes)]
    assert "more than half of its texts hold none that 10 training rows share" in kind_of(rarely)[1][0]
    assert kind_of([f"person {i % 40}x{i}" for i in range(600)])[0] == "dropped"
    assert kind_of(notes, most=0)[0] == "dropped"


def test_a_column_whose_levels_tell_something_stays_a_category() -> None:
    notes = [*reviews(590)["note"].to_list(), *["no note was left"] * 10]
    assert kind_of(notes)[0] == "category"
    assert kind_of(notes, text=True)[0] == "text"  # most rows hold no level, and somebody says that these are texts
    assert kind_of(["the red one", "the blue one"] * 300, text=True)[0] == "category"
    assert kind_of(reviews(100)["note"].to_list(), text=True)[0] == "text"


# ─── a model of texts ────────────────────────────────────────────────────────────────────────────────────────────────

SMALL: dict[str, Any] = {
    "network": {"members": 2, "layers": [16]},
    "fit": {"epochs": 8, "batch_size": 32},
    "verbose": False,
}


@pytest.fixture(scope="module")
def model() -> rowcast.Model:
    return rowcast.fit(reviews(1000), target="y", **SMALL)


def test_the_words_tell_the_target(model: rowcast.Model) -> None:
    assert model.metrics["test"]["accuracy"] > 0.9
    assert model.stored.manifest.parity["max_difference"] < 1e-6
    note = model.signature.columns[0]
    assert (note.kind, note.words, note.levels, note.nullable) == ("text", 19, None, False)
    assert set(str(note.example).split(" ")) <= {*PLAIN, *GOOD, *BAD}


def test_a_word_of_fewer_than_ten_rows_is_nowhere_in_the_version(model: rowcast.Model) -> None:
    files = {path.name: path.read_bytes() for path in model.path.iterdir()}
    assert [name for name, content in files.items() if b"order0" in content.lower()] == []
    assert b"lovely" in files["model.onnx"]


def test_one_row_and_many_are_read_alike(model: rowcast.Model) -> None:
    odd = ["", "Lovely\tbox", "é lovely", "\0 broken", "LOVELY!", " ".join(["x"] * WORDS_READ) + " broken"]
    frame = pl.DataFrame({"note": [*odd, None], "x": 0.0})
    expected = model.predict_proba(frame)
    singles = np.concatenate([model.predict_proba([row]) for row in frame.to_dicts()])
    assert np.abs(singles - expected).max() <= 1e-6
    unlike = np.abs(expected - expected[0]).max(axis=1) > 0.01
    assert unlike.tolist() == [False, False, True, True, True, False, False]  # a tab separates no words
    session = Session.of(model.stored, "cpu")
    columns = {"note": objects(*odd, "").reshape(-1, 1), "x": np.zeros((7, 1))}
    assert np.array_equal(session.run(columns).probabilities, expected)  # type: ignore[arg-type]


def test_texts_are_looked_at_as_training_does(model: rowcast.Model) -> None:
    looked = {column["name"]: column["kind"] for column in rowcast.look(reviews(1000), target="y")["columns"]}
    assert looked == {"note": "text", "x": "number", "y": "category"}
    assert "note" in json.loads((model.path / "model.json").read_text())["decisions"][0]


def test_a_second_fit_on_all_rows_reads_words_too() -> None:
    frame = reviews(800)
    model = rowcast.fit(frame, target="y", **SMALL | {"fit": {"epochs": 1, "refit": True, "seeds": 2}})
    assert model.signature.columns[0].words == 19
    assert model.predict(frame.head(2)).height == 2


def test_a_fit_that_starts_from_a_model_carries_its_words_over(model: rowcast.Model) -> None:
    frame = reviews(600, seed=1).with_columns(pl.col("note").str.replace("the", "ship"))
    again = rowcast.fit(frame, start_from=model, fit={"epochs": 1}, verbose=False)
    note, before = again.signature.columns[0], model.signature.columns[0]
    assert (note.kind, note.words) == ("text", 20)  # "ship" is new
    assert str(note.example) == str(before.example)
    (said,) = (decision for decision in again.decisions if "the fit starts from" in decision)
    assert "'note', 'x' carry their embeddings and weights over" in said
    old, new = (read_weights(one) for one in (model, again))
    assert new["network.texts.weight"].shape == (21, 32)
    moved = np.abs(new["network.texts.weight"][:20] - old["network.texts.weight"]).max()
    assert 0.0 < moved < 0.1 < np.abs(old["network.texts.weight"][1:]).max()


def read_weights(model: rowcast.Model) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = safetensors.numpy.load((model.path / "weights.safetensors").read_bytes())
    return found


def test_a_table_in_shards_is_read_word_by_word_too(tmp_path: Path) -> None:
    reviews(1800).write_parquet(tmp_path / "reviews.parquet")
    data = {"in_memory": False, "target": "y", "sample_rows": 1_000}
    model = rowcast.fit(tmp_path / "reviews.parquet", data=data, **SMALL)
    assert model.signature.columns[0].words == 19
    assert model.metrics["test"]["accuracy"] > 0.85
