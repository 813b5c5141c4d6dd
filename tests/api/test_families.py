"""Tables of every family in, answers of the same family out, the same to the last bit."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rowcast import RowcastError

COLUMNS = ["size", "count", "member", "city", "when", "took"]


class Exported:
    """A table of another engine: all that is known of it is that it exports Arrow."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def in_families(frame):
    """The same rows as every family has them."""
    rows = frame.to_dicts()
    arrow = frame.to_arrow()
    return {
        "polars": frame,
        "lazy": frame.lazy(),
        "pandas": frame.to_pandas(),
        "pyarrow": arrow,
        "reader": arrow.to_reader(),
        "exported": Exported(arrow),
        "columns": frame.to_dict(as_series=False),
        "series": frame.to_dict(as_series=True),
        "rows": rows,
        "objects": np.array(rows, dtype=object),
    }


def numbers(answers, name):
    """A column of answers of any family, as an array."""
    if isinstance(answers, list):
        return np.array([row[name] for row in answers])
    column = answers[name]
    return column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)


@pytest.mark.parametrize("rows", [1, 3, 150])
@pytest.mark.parametrize("model", ["regression", "binary"])
def test_every_family_is_answered_with_the_same_bits(model, rows, frame, request):
    fitted = request.getfixturevalue(model)
    some = frame.slice(30, rows)
    expected = fitted.predict(some)
    for family, table in in_families(some).items():
        answers = fitted.predict(table)
        for name in expected.columns:
            found = numbers(answers, name)
            if family not in ("rows", "objects"):  # whose numbers are Python's
                assert found.dtype == expected[name].to_numpy().dtype, (family, name)
            assert found.tolist() == expected[name].to_list(), (family, name)


def test_a_family_is_answered_in_its_own_kind(regression, frame, tmp_path):
    some = frame.head(4)
    kinds = {family: type(regression.predict(table)) for family, table in in_families(some).items()}
    assert kinds == {
        "polars": pl.DataFrame,
        "lazy": pl.DataFrame,
        "pandas": pd.DataFrame,
        "pyarrow": pa.Table,
        "reader": pa.Table,
        "exported": pa.Table,
        "columns": dict,
        "series": dict,
        "rows": list,
        "objects": list,
    }
    some.with_columns(pl.col("took").dt.to_string("iso")).write_csv(tmp_path / "some.csv")
    for file in (tmp_path / "some.csv", str(tmp_path / "*.csv"), tmp_path):
        assert regression.predict(file).equals(regression.predict(some)), file


def test_answers_to_pandas_have_its_index(regression, frame):
    shuffled = frame.to_pandas().set_index(pd.Index(range(1000, 1240), name="key")).sample(frac=1, random_state=1)
    answers = regression.predict(shuffled, keep=["city"])
    assert answers.index.equals(shuffled.index)
    assert list(answers.columns) == ["city", "prediction", "lower", "upper"]
    assert answers["city"].dtype == shuffled["city"].dtype


@pytest.mark.parametrize("model", ["regression", "binary"])
def test_no_rows_are_answered_with_no_rows(model, frame, request, tmp_path):
    fitted = request.getfixturevalue(model)
    for family, table in in_families(frame.head(0)).items():
        answers = fitted.predict(table)
        assert (
            len(
                answers
                if isinstance(answers, list)
                else answers[next(iter(answers))]
                if isinstance(answers, dict)
                else answers
            )
            == 0
        ), family
    row = frame.head(1)
    assert fitted.predict(frame.head(0)).schema == fitted.predict(row).schema
    empty = fitted.predict(frame.head(0).to_pandas())
    assert empty.dtypes.to_list() == fitted.predict(frame.head(1).to_pandas()).dtypes.to_list()
    assert fitted.predict([]) == fitted.predict([], keep=["city"]) == []
    frame.head(0).write_csv(tmp_path / "t.csv")
    assert fitted.predict(tmp_path / "t.csv").equals(fitted.predict(frame.head(0)))
    assert fitted.predict(tmp_path / "t.csv", keep=["city"]).columns == fitted.predict(row, keep=["city"]).columns
    with pytest.raises(RowcastError, match="lacks 'count', which the model needs"):
        fitted.predict(frame.head(0).drop("count"))


def test_one_row_may_be_a_dict_or_a_row_of_pandas(binary, frame):
    row = frame.row(7, named=True)
    answer = binary.predict(row, keep=["city"])
    assert list(answer) == ["city", "label", "probability_0", "probability_1"]
    assert (type(answer["label"]), answer["city"]) == (int, row["city"])
    series = binary.predict(frame.to_pandas().iloc[7])
    assert isinstance(series, pd.Series)
    assert (series.name, series["probability_1"]) == (7, answer["probability_1"])
    assert binary.predict([row])[0] == {name: answer[name] for name in list(answer)[1:]}


def test_columns_that_the_model_does_not_know_are_ignored(regression, frame):
    expected = regression.predict(frame.select(COLUMNS))
    assert regression.predict(frame.with_columns(other=pl.lit([[1]]))).equals(expected)
    row = frame.row(0, named=True) | {"other": object()}
    assert regression.predict([row])[0]["prediction"] == expected["prediction"][0]


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_an_array_is_answered_with_a_structured_array(of_arrays, arrays):
    x, _ = arrays
    answers = of_arrays.predict(x)
    assert (answers.shape, answers.dtype.names) == ((240,), ("prediction", "lower", "upper"))
    for same in (x.tolist(), x.astype(object), pd.DataFrame(x, columns=["x0", "x1", "x2", "x3"])):
        assert np.asarray(of_arrays.predict(same)["prediction"]).tolist() == answers["prediction"].tolist()
    assert of_arrays.predict(x[:5])["prediction"].tolist() == answers["prediction"][:5].tolist()
    assert of_arrays.predict(x[3])["prediction"].tolist() == answers["prediction"][3:4].tolist()
    assert (
        of_arrays.predict([{"x0": x[3, 0], "x1": x[3, 1], "x2": x[3, 2]}])[0]["prediction"] == answers["prediction"][3]
    )
    records = np.array([tuple(row) for row in x], dtype=[(f"x{i}", float) for i in range(4)])
    assert of_arrays.predict(records)["prediction"].tolist() == answers["prediction"].tolist()


def test_an_array_must_have_the_columns_of_the_fit(of_arrays, arrays, regression):
    x, _ = arrays
    with pytest.raises(RowcastError, match="fitted on an array of 4 columns, got one of 3"):
        of_arrays.predict(x[:, :3])
    with pytest.raises(RowcastError, match="fitted on an array of 4 columns, got one of 5"):
        of_arrays.predict(np.hstack([x, x[:, :1]]))
    with pytest.raises(RowcastError, match=r"columns are called x0 to x3, got one of age"):
        of_arrays.predict(pd.DataFrame({"age": [1.0]}))
    with pytest.raises(
        RowcastError, match=r"by their names \(size, count, member, city, when, \.\.\.\), and an array has none"
    ):
        regression.predict(x)


# --- a value at a time, or a column at a time -------------------------------------------------------------------------

ODD_VALUES = {
    "size": [1, -0.0, None, np.nan, np.float32(1.6), np.int8(3), "12.5", " 7 ", "", "NA", 1e300],
    "count": [3.0, np.uint16(9), "4", None, 2**40],
    "member": [True, np.bool_(False), "true", "FALSE", None, np.nan, ""],
    "city": ["Rome", "Zürich", "Nowhere", "", None, np.str_("Oslo"), "NA", "Ålesund"],
    "when": [
        *("2021-05-05", "2021-05-05T10:00:00Z", "2021-05-05 10:00:00.123456789+02:00", "", None, "NA"),
        *(
            dt.date(2021, 5, 5),
            dt.datetime.fromisoformat("1960-05-05T01:02:03.4"),
            dt.datetime(2021, 5, 5, tzinfo=dt.UTC),
        ),
        *(pd.Timestamp("2021-05-05 10:00:00.123456789"), pd.Timestamp("1950-01-01T00:00:00.000000001Z"), pd.NaT),
        np.datetime64("2021-05-05T10"),
    ],
    "took": [
        *(dt.timedelta(hours=1, microseconds=7), dt.time(1, 30), pd.Timedelta("1h"), pd.NaT, None, ""),
        *(np.timedelta64(3_600, "s"), np.timedelta64(3_600_000_000_000, "ns"), np.timedelta64("NaT")),
        *("PT1H", "01:00:00", "90", 3_600, 0.5, np.int16(90)),
    ],
}


@pytest.mark.parametrize(("column", "value"), [(c, v) for c, values in ODD_VALUES.items() for v in values], ids=repr)
def test_a_value_read_alone_is_read_as_in_a_column(regression, frame, column, value):
    row = frame.row(0, named=True) | {column: value}
    long = [row] * 70  # more than are looked at one by one
    assert regression.predict([row])[0] == regression.predict(long)[0]
    assert regression.predict(row) == regression.predict([row])[0]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("size", value) for value in ("far", True, np.inf, 2**60, 2**53 + 2, b"1")],
        *[("count", value) for value in (1.5, "1.5", False)],
        *[("member", value) for value in (1, 0.0, "yes")],
        *[("city", value) for value in (1, 2.5, True, "\ud83d", dt.date(2021, 5, 5))],
        *[("when", value) for value in (5, "soon", "2021-02-30", True, dt.timedelta(1))],
        *[("took", value) for value in ("soon", True, dt.date(2021, 5, 5), np.timedelta64(3, "M"))],
        *[("count", np.timedelta64(3, "ns")), ("size", np.timedelta64(3, "s"))],
    ],
    ids=repr,
)
def test_a_value_refused_alone_is_refused_as_in_a_column(regression, frame, column, value):
    row = frame.row(0, named=True) | {column: value}
    said = []
    for table in ([row], [row] * 70, row):
        with pytest.raises(RowcastError) as refused:
            regression.predict(table)
        said.append(str(refused.value))
    assert len(set(said)) == 1
    assert column in said[0]


FORKED = """
import os, sys
import rowcast

model = rowcast.load(sys.argv[1])
row = [{"size": 90.0, "count": 3, "member": True, "city": "Rome", "when": "2021-05-05", "took": 90}]
expected = model.predict(row)
if not os.fork():
    assert model.predict(row) == expected
    os._exit(7)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
"""


def test_a_process_that_was_forked_opens_the_model_anew(regression):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, regression.path], timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
