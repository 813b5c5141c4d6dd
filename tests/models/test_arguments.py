"""Messages name flags on the command line and arguments in Python: each flag that one names has its argument."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import rowcast
from rowcast.models.arguments import DATA_LISTS, DATA_VALUES, VERBS, in_python, named
from rowcast.models.errors import RowcastError
from rowcast.training.data.config import DataConfig
from tests.support import tables

ROOT = Path(__file__).resolve().parents[2]
FLAG = re.compile(r"--([a-z][a-z0-9-]*)")
SAMPLE = "my col"


def spoken(tree):
    """Every text of a module but its docstrings, with NUL for what is put in by ``named`` and \\1 for the rest."""
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(part_of, node.values))


def part_of(part):
    if isinstance(part, ast.Constant):
        return part.value
    quoted = part.conversion == ord("r")
    said = ast.unparse(part.value)
    return "\0" if quoted or said.startswith("named(") or said == "spelled" else "\1"


def messages():
    for room in ("training", "models", "rowcast/client"):
        files = sorted((ROOT / room).rglob("*.py"))
        assert files, room
        for file in files:
            if file.name == "arguments.py":
                continue
            for line, text in spoken(ast.parse(file.read_text("utf-8"))):
                if FLAG.search(text):
                    yield pytest.param(text, id=f"{file.relative_to(ROOT)}:{line}")


ALL = list(messages())


def test_messages_that_name_flags_are_found():
    assert len(ALL) > 40


@pytest.mark.parametrize("text", ALL)
def test_every_flag_that_a_message_names_is_an_argument_in_python(text):
    bare = re.sub(r"`[^`]*`", "", text)
    for match in FLAG.finditer(bare):
        rest = bare[match.end() :]
        assert not rest.startswith(" \1"), f"what follows {match[0]} is written with named(...)"
        word = re.match(r" ([a-z]+)(?![\w.=-])", rest)
        literal = match[1] in ("task", "encoding", "device", "rename", "set")
        assert word is None or word[1] in VERBS or literal, f"{word[1]!r} is no word of rowcast.models.arguments.VERBS"
    said = in_python(bare.replace("\0", named(SAMPLE)).replace("\1", "x"))
    assert not FLAG.search(said), said
    for snippet in re.findall(r"\b[a-z_]+=\{[^}]*\}+|\b[a-z_]+=\"[^\"]*\"", said):
        ast.parse(f"call({snippet})")


def test_flags_of_data_are_fields_of_the_config():
    known = {name for name in DATA_LISTS | DATA_VALUES if name.replace("-", "_") in DataConfig.model_fields}
    assert {"drop", "category", "null", "task", "split-by-time", "group", "encoding"} <= known
    for name in known:
        default = DataConfig.model_fields[name.replace("-", "_")].default
        assert isinstance(default, tuple) == (name in DATA_LISTS), name


SENTENCES = {
    "leave it out with --drop depth": 'leave it out with data={"drop": ["depth"]}',
    "train with --category 'my col' or --null '?'": 'train with data={"category": ["my col"]} or data={"null": ["?"]}',
    "has no column 'x', which --drop names: its": "has no column 'x', which data={\"drop\": [...]} names: its",
    "say --null '<0.1,n.d.'": 'say data={"null": ["<0.1", "n.d."]}',
    "--keep names 'x'": "data={\"keep\": [...]} names 'x'",
    "use --rename old=new, or --task regression": 'use data={"rename": {"old": "new"}}, or data={"task": "regression"}',
    "name another with --target": "name another with target=",
    "choose another --repository": "choose another repository=",
    "add --set objective.loss=mae; or": 'add objective={"loss": "mae"}; or',
    "--set optimizer.lr=0.01": 'optimizer={"lr": 0.01}',
    "--set 'data.no_sentinels=[\"my col\"]'": 'data={"no_sentinels": ["my col"]}',
    "--budget 60s or --epochs 3": 'fit={"budget_s": 60} or fit={"epochs": 3}',
    "--budget 30m or --budget 1.5h": 'fit={"budget_s": 1800} or fit={"budget_s": 5400}',
    "--budget 0.5, --epochs 007": 'fit={"budget_s": 0.5}, fit={"epochs": 7}',
    "--seed 3": "seed=3",
    "--folds 5": "folds=5",
    "--set data.header=false": 'data={"header": False}',
    "--set 'a.b=[true, 1, \"x\", inf]'": 'a={"b": [True, 1, "x", float("inf")]}',
    "--set a.b.c=1979-05-27": 'a={"b": {"c": "1979-05-27"}}',
    "--set name=x": 'name="x"',
    "--budget D or --epochs": 'fit={"budget_s": ...} or fit={"epochs": ...}',
    "`rowcast init TABLE --target COL` prints one": "`rowcast init TABLE --target COL` prints one",
    "a column--drop is none, nor is --unheard-of": "a column--drop is none, nor is --unheard-of",
    "--drop names": 'data={"drop": [...]} names',
    "--drop 'names'": 'data={"drop": ["names"]}',
}


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_with_flags_is_one_with_arguments(text):
    assert in_python(text) == SENTENCES[text]


def advice(text):
    """Every ``name=value`` of a sentence, to where its brackets and quotes close."""
    for match in re.finditer(r"(?<![\w.])[a-z_]+=(?=[\[{\"0-9]|float)", text):
        for end in range(match.end() + 1, len(text) + 1):
            if text[end : end + 1] in ("", " ", ",", ";", ":", ")") and text[:end].count('"') % 2 == 0:
                snippet = text[match.start() : end]
                if all(snippet.count(a) == snippet.count(b) for a, b in ("[]", "{}", "()")):
                    yield snippet
                    break


@pytest.mark.parametrize("text", SENTENCES)
def test_what_a_sentence_says_to_python_is_python(text):
    said = in_python(text)
    found = list(advice(said))
    assert len(found) == len(re.findall(r"(?<![\w.`])[a-z_]+=[\[{\"0-9]", said))
    for snippet in found:
        (argument,) = ast.parse(f"call({snippet})", mode="eval").body.keywords
        for part in ast.walk(argument.value):
            assert isinstance(part, ast.expr | ast.expr_context | ast.operator), snippet
            assert not isinstance(part, ast.Name) or part.id == "float", snippet


def test_a_function_that_takes_the_options_themselves_is_told_so():
    assert in_python("--drop a or --target y", ["*"]) == 'drop=["a"] or target="y"'
    assert in_python("--keep names 'x'; --drop a", ["keep"]) == 'keep=[...] names \'x\'; data={"drop": ["a"]}'


@pytest.mark.parametrize("name", ["depth", "my col", "it's", 'a"b', "names", "--drop", "größe", "$x", "", "a,b"])
def test_a_name_behind_a_flag_comes_through_whole(name):
    assert in_python(f"leave it out with --drop {named(name)}; or not").endswith("; or not")
    literal = in_python(f"--drop {named(name)}").removeprefix("data=")
    assert ast.literal_eval(literal) == {"drop": [name]}


def test_errors_of_the_python_api_name_arguments(tmp_path):
    frame = tables.every_kind(60).drop("class")
    with pytest.raises(RowcastError, match=r"no column 'amont', which target= names"):
        rowcast.fit(frame, target="amont", repository=tmp_path)
    with pytest.raises(RowcastError, match=r'which data=\{"drop": \[...\]\} names'):
        rowcast.fit(frame, target="amount", repository=tmp_path, data={"drop": ["siz"]})
    with pytest.raises(RowcastError, match=r"which drop=\[...\] names"):
        rowcast.look(frame, drop=["siz"])
    odd = frame.with_columns(size=["x"] + ["1.5"] * 59)
    with pytest.raises(RowcastError) as refused:
        rowcast.fit(odd, target="amount", repository=tmp_path)
    assert "--" not in str(refused.value)
    told = " ".join(column["why"] for column in rowcast.look({"a": [1, 2, 3]})["columns"])
    assert "--" not in told


def test_a_value_that_does_not_fit_is_named_as_it_stands(tmp_path):
    frame = tables.every_kind(120).drop("class").with_columns(size=pl.Series(["$(1"] + ["1.5", "2.25"] * 59 + ["3"]))
    with pytest.raises(RowcastError) as refused:
        rowcast.fit(frame, target="amount", repository=tmp_path)
    assert 'data={"null": ["$(1"]}' in str(refused.value)


def test_decisions_of_a_model_name_arguments_in_python():
    manifest = SimpleNamespace(decisions=["'id' is dropped: it looks like an identifier; keep it with --keep id"])
    (decision,) = rowcast.Model(SimpleNamespace(manifest=manifest)).decisions
    assert decision.endswith('keep it with data={"keep": ["id"]}')
