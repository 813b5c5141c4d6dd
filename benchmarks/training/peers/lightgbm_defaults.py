"""LightGBM with its defaults: 10,000 rounds at most, early stopping on the validation rows, pandas categories."""

import lightgbm
from parts import Run

run = Run()
run.parts.as_categories()
x, y = run.parts.x, run.parts.y
kind = lightgbm.LGBMRegressor if run.parts.regression else lightgbm.LGBMClassifier
model = kind(n_estimators=10_000, n_jobs=run.given.threads, random_state=run.given.seed, verbose=-1)
stop = lightgbm.early_stopping(50, verbose=False)
run.fit(model, x["train"], y["train"], eval_X=(x["validation"],), eval_y=(y["validation"],), callbacks=[stop])
run.finish(model, rounds=int(model.best_iteration_))
