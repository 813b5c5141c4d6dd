"""RealMLP-TD of pytabkit with its defaults; the best epoch is chosen on the validation rows.

It takes no missing number: there the median of the training rows stands. `--for-log-loss` sets what its documentation
recommends where cross entropy matters: no label smoothing, and the best epoch by cross entropy.
"""

from parts import NAMES, Run
from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

run = Run()
x, y = run.parts.x, run.parts.y
numbers = [column for column in x["train"] if column not in run.parts.categories]
medians = x["train"][numbers].median().fillna(0.0)
run.parts.as_categories()
for name in NAMES:
    x[name][numbers] = x[name][numbers].fillna(medians)
settings = {"val_metric_name": "cross_entropy", "use_ls": False} if run.given.for_log_loss else {}
kind = RealMLP_TD_Regressor if run.parts.regression else RealMLP_TD_Classifier
model = kind(device="cpu", random_state=run.given.seed, n_threads=run.given.threads, **settings)
run.fit(
    model,
    x["train"],
    y["train"],
    X_val=x["validation"],
    y_val=y["validation"],
    cat_col_names=run.parts.categories,
)
run.finish(model)
