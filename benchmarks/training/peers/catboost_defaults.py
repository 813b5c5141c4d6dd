"""CatBoost with its defaults: 2,000 rounds at most, early stopping on the validation rows.

A missing category is a level of its own.
"""

from catboost import CatBoostClassifier, CatBoostRegressor
from parts import NAMES, Run

run = Run()
x, y = run.parts.x, run.parts.y
for name in NAMES:
    for column in run.parts.categories:
        x[name][column] = x[name][column].fillna("")
kind = CatBoostRegressor if run.parts.regression else CatBoostClassifier
model = kind(
    iterations=2000,
    early_stopping_rounds=50,
    cat_features=run.parts.categories,
    random_seed=run.given.seed,
    thread_count=run.given.threads,
    allow_writing_files=False,
    verbose=False,
)
run.fit(model, x["train"], y["train"], eval_set=(x["validation"], y["validation"]))
run.finish(model, rounds=int(model.tree_count_))
