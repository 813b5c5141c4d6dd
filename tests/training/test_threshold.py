"""Labels that follow a threshold: found by hand, written into the graph, followed to the last bit."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config, to_toml
from rowcast.training.fit.evaluate import class_metrics, label_metrics
from rowcast.training.fit.threshold import best_threshold, best_weights, check_threshold, costs_of, find_rule
from rowcast.training.network.labels import MostProbable, Scores, Threshold


def graph_of(rule, n_classes):
    """A rule as a graph of its own."""
    answers = ir.val("p", ir.DataType.FLOAT, ["rows", n_classes])
    graph = ir.Graph([answers], [], nodes=[], opset_imports={"": 20}, name="rule")
    best = rule.put(graph, answers, "head.")
    best.type, best.shape = ir.TensorType(ir.DataType.INT64), ir.Shape(["rows", 1])
    graph.outputs.append(best)
    proto = ir.serde.serialize_model(ir.Model(graph, ir_version=10))
    onnx.checker.check_model(proto, full_check=True)
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def pairs(*second):
    """Probabilities of two classes, by that of the second."""
    second = np.array(second, np.float32)
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize("value", [0.1, 0.3, 0.5, 0.7, 1e-30, 0.999])
def test_the_graph_says_the_second_class_from_the_threshold_itself_on(value):
    rule, at = Threshold.at(value), np.float32(value)
    p = pairs(np.nextafter(at, np.float32(0)), at, np.nextafter(at, np.float32(1)), 0.0, 1.0)
    wanted = [0, 1, 1, 0, 1]
    assert rule.choose(p).tolist() == wanted
    assert graph_of(rule, 2).run(None, {"p": p})[0][:, 0].tolist() == wanted
    assert rule.margin(p)[1] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(
    "rule",
    [
        MostProbable(),
        Scores.of_weights(np.array([1.0, 3.0, 0.5])),
        Scores.of_costs(np.array([[0, 1, 1], [9, 0, 1], [1, 2, 0.0]])),
    ],
)
def test_graph_and_rule_say_the_same_of_three_classes(rule):
    p = np.random.default_rng(0).dirichlet(np.ones(3), 500).astype(np.float32)
    p[:3] = np.eye(3)
    assert graph_of(rule, 3).run(None, {"p": p})[0][:, 0].tolist() == rule.choose(p).tolist()
    moved = np.clip(p + np.random.default_rng(1).uniform(-1, 1, p.shape) * rule.margin(p)[:, None] * 0.49, 0, 1)
    assert rule.choose(moved.astype(np.float32)).tolist() == rule.choose(p).tolist()


def test_the_best_threshold_is_the_one_that_trying_all_of_them_finds():
    rng = np.random.default_rng(0)
    score = rng.random(300).astype(np.float32).round(2)
    positive = rng.random(300) < score * 0.4
    for name in ("f1", "balanced_accuracy"):
        found = best_threshold(name, score, positive)
        tried = [
            label_metrics(positive.astype(int), (score >= np.float32(t)).astype(int), 2)[name]
            for t in (*np.unique(score), 1.01)
        ]
        said = found.choose(pairs(*score))
        assert label_metrics(positive.astype(int), said, 2)[name] == pytest.approx(max(tried), abs=1e-12)
        assert found.value not in score


def test_of_neighbouring_probabilities_the_upper_one_is_the_threshold():
    low = np.float32(0.25)
    high = np.nextafter(low, np.float32(1))
    found = best_threshold("f1", np.array([low, high]), np.array([False, True]))
    assert found.choose(pairs(low, high)).tolist() == [0, 1]


def test_factors_of_classes_raise_what_was_asked_for():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([8.0, 2.0, 1.0], 3000).astype(np.float32)
    actual = (p.cumsum(axis=1) > rng.random((3000, 1))).argmax(axis=1)
    for name in ("f1", "balanced_accuracy"):
        rule = best_weights(name, p, actual)
        before = label_metrics(actual, p.argmax(axis=1), 3)[name]
        assert label_metrics(actual, rule.choose(p), 3)[name] > before + 0.02


def test_a_row_of_weight_two_counts_like_two_rows():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([4.0, 2.0, 1.0], 400).astype(np.float32)
    actual = (p.cumsum(axis=1) > rng.random((400, 1))).argmax(axis=1)
    weight = rng.integers(1, 4, 400).astype(np.float64)
    again = np.repeat(np.arange(400), weight.astype(int))
    for name in ("f1", "balanced_accuracy"):
        two = best_threshold(name, p[:, 1], actual == 1, weight), best_threshold(name, p[again, 1], actual[again] == 1)
        assert two[0] == two[1]
        three = best_weights(name, p, actual, weight), best_weights(name, p[again], actual[again])
        assert [
            label_metrics(actual, rule.choose(p), 3, weight)[name]
            == pytest.approx(label_metrics(actual[again], rule.choose(p[again]), 3)[name], abs=1e-12)
            for rule in three
        ] == [True, True]


def test_costs_of_two_classes_are_the_threshold_of_the_least_expected_cost():
    classes, p = ("no", "yes"), pairs(0.05, 0.15, 0.25, 0.9)
    found = find_rule({"yes": {"no": 5.0}}, classes, p, np.array([0, 0, 1, 1]))
    assert found.rule == Threshold.at(1 / 6)
    assert found.rule.choose(p).tolist() == [0, 0, 1, 1]
    assert found.record == {
        "by": "costs",
        "class": "yes",
        "value": float(str(np.float32(1 / 6))),
        "costs": {"no": {"yes": 1.0}, "yes": {"no": 5.0}},
    }
    assert "mean cost 1.250 to 0.000" in found.decision


def test_costs_of_three_classes_are_weighed_against_each_other():
    asked = {"c": {"a": 10.0, "b": 10.0}}
    assert costs_of(asked, ("a", "b", "c")).tolist() == [[0, 1, 1], [1, 0, 1], [10, 10, 0]]
    p = np.array([[0.6, 0.3, 0.1], [0.5, 0.35, 0.15], [0.1, 0.88, 0.02]], np.float32)
    found = find_rule(asked, ("a", "b", "c"), p, np.array([0, 1, 1]))
    # of the first row: a costs .3 + 10 * .1, b .6 + 10 * .1, c .9
    assert found.rule.choose(p).tolist() == [2, 2, 1]
    assert "threshold" not in found.record
    assert found.record["costs"]["c"] == {"a": 10.0, "b": 10.0}


def test_a_decision_tells_where_the_threshold_is_from_and_what_it_did():
    rng = np.random.default_rng(0)
    score = rng.beta(1, 6, 2000).astype(np.float32)
    actual = (rng.random(2000) < score).astype(np.int64)
    found = find_rule("f1", ("no", "yes"), pairs(*score), actual)
    assert found.record == {"by": "f1", "class": "yes", "value": found.rule.value}
    assert found.decision.startswith(
        f"the label is 'yes' from a probability of {found.rule.value:.4g} on, for the best F1 of 'yes' on validation "
        "rows: F1 "
    )
    assert found.decision.endswith(" on 2,000 validation rows, each half called by the rule of the other")
    plain = find_rule(0.25, ("no", "yes"), pairs(*score), actual)
    assert plain.record == {"by": "number", "class": "yes", "value": 0.25}
    assert find_rule("none", ("no", "yes"), pairs(*score), actual) is None


def test_few_validation_rows_find_no_threshold():
    found = find_rule("f1", ("a", "b"), pairs(0.1, 0.9), np.array([0, 1]))
    assert (found.rule, found.record["value"]) == (Threshold.at(0.5), 0.5)
    assert (
        found.decision == "the label is the most probable class: 2 validation rows are too few to find a threshold on"
    )


def test_metrics_are_of_the_labels_that_were_said():
    p = pairs(0.1, 0.3, 0.4, 0.8)
    labels = ["a", "b", "a", "b"]
    plain, said = class_metrics(labels, p, "ab"), class_metrics(labels, p, "ab", ["b", "b", "b", "b"])
    assert (plain["accuracy"], plain["balanced_accuracy"]) == (0.75, 0.75)
    assert (said["accuracy"], said["balanced_accuracy"]) == (0.5, 0.5)
    assert {name: said[name] for name in ("roc_auc", "log_loss", "brier", "ece")} == {
        name: plain[name] for name in ("roc_auc", "log_loss", "brier", "ece")
    }


@pytest.mark.parametrize(
    ("asked", "classes", "message"),
    [
        (0.3, ("a", "b", "c"), r"may be a number where there are two classes, got 0\.3 for 3: name \"f1\""),
        ({"d": {"a": 2.0}}, ("a", "b"), r"names classes of the target, 'a', 'b', got 'd'"),
        ({"a": {"a": 2.0}}, ("a", "b"), r"says what errors cost; 'a' said of 'a' is none: leave it out"),
        ({"a": {}}, ("a", "b"), r"says what at least one error costs"),
    ],
)
def test_a_threshold_that_does_not_fit_the_classes_is_refused(asked, classes, message):
    with pytest.raises(ConfigError, match=message):
        check_threshold(asked, classes)


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("objective.threshold=1.5", ['\'objective.threshold\' must be "none", "f1"', "less than 1", "got 1.5"]),
        ("objective.threshold=recall", ['"balanced_accuracy"', "a table of tables of numbers more than 0", "'recall'"]),
        ("objective.threshold={a={b=-1}}", ["'objective.threshold", "got -1"]),
        ("objective.coverage=1", ["'objective.coverage' must be more than 0 and less than 1, got 1"]),
        ("objective.coverage=0.5,1", ["'objective.coverage' must be more than 0 and less than 1, got [0.5, 1]"]),
        (
            "objective.coverage=wide",
            [
                "'objective.coverage' must be a number more than 0 and less than 1, or a list of such numbers",
                "got ['wide']",
            ],
        ),
        (
            "objective.coverage=[0.9, 0.9]",
            ["'objective.coverage' must be 1 to 8 levels, each another one, got [0.9, 0.9]"],
        ),
    ],
)
def test_a_wrong_setting_is_refused(setting, fragments):
    with pytest.raises(ConfigError) as refused:
        make_config(settings=[setting])
    for fragment in fragments:
        assert fragment in str(refused.value)


@pytest.mark.parametrize("asked", [0.2, "f1", {"1": {"0": 5.0}, "0": {"1": 2.0}}])
def test_every_form_survives_the_way_through_toml(asked, tmp_path):
    config = make_config(overrides={"objective": {"threshold": asked}})
    (tmp_path / "c.toml").write_text(to_toml(config, explained=True))
    assert make_config(file=tmp_path / "c.toml") == config


def test_classes_that_python_knows_as_numbers_may_be_named_so():
    config = make_config(overrides={"objective": {"threshold": {1: {0: 5}}}})
    assert config.objective.threshold == {"1": {"0": 5.0}}


def test_levels_are_a_list_or_a_number():
    assert make_config(settings=["objective.coverage=0.9,0.5"]).objective.levels == (0.9, 0.5)
    assert make_config(settings=["objective.coverage=0.8"]).objective.levels == (0.8,)
    config = make_config(settings=["objective.coverage=0.9,0.955"])
    assert config.objective.further_outputs == ("lower_95.5", "upper_95.5")
    assert (
        make_config(settings=["objective.coverage=0.9,0.5", "objective.intervals=none"]).objective.further_outputs == ()
    )
