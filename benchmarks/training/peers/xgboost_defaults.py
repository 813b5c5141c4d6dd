"""XGBoost with its defaults: 10,000 rounds at most, early stopping on the validation rows, native categories."""

import xgboost
from parts import Run

run = Run()
run.parts.as_categories()
x, y = run.parts.x, run.parts.y
kind = xgboost.XGBRegressor if run.parts.regression else xgboost.XGBClassifier
model = kind(
    n_estimators=10_000,
    early_stopping_rounds=50,
    enable_categorical=True,
    n_jobs=run.given.threads,
    random_state=run.given.seed,
)
run.fit(model, x["train"], y["train"], eval_set=[(x["validation"], y["validation"])], verbose=False)
run.finish(model, rounds=int(model.best_iteration) + 1)
