"""Tuning: which config does best on the validation rows of a table.

    config.py       what a person may say of it in the config: ``[tune.space]``
    space.py        the fields that are searched, and the values that each may take
    space_reading.py  what a config says of the space, and the default one
    rows.py         the rows that trials see, read once: training and validation rows, never a test row
    carry.py        the same rows in a folder, for the other processes of this machine
    objective.py    one trial: fits a config, and says how well it does
    study/          the study: what is tried next, and what came of it; kept where a kill costs nothing
    clock.py        how the time is shared among trials and the last fit
    try_out.py      the loop: ask what is to be tried, try it, say what came of it
    last_fit.py     the fit of the best config: whether it can be had, is there already, what time it has
    published.py    which version came of the best trial before
    telling.py      what is told of a study as it goes on
    run.py          all of it in order, ending with a published model
    worker.py       a further process of this machine that tries configs of the same study
    outcome.py      what a study tells in the end: best config, table of trials, importance of fields

Optuna is imported where it is used, so that the rest of training does without it.
"""
