"""Tuning: which config does best on the validation rows of a table.

    config.py       what a person may say of it in the config: ``[tune.space]``
    space.py        the fields that are searched, and the values that each may take
    rows.py         the rows that trials see, read once: training and validation rows, never a test row
    carry.py        the same rows in a folder, for the other processes of this machine
    objective.py    one trial: fits a config, and says how well it does
    rungs.py        when a trial is compared with those before it, and ended if it is no good
    storage.py      where a study is kept: a journal of its own, or a database
    study.py        the study: what is tried next, what came of it, what of a killed process is tried again
    clock.py        how the time is shared among trials and the last fit
    try_out.py      the loop: ask what is to be tried, try it, say what came of it
    run.py          all of it in order, ending with a published model
    worker.py       a further process of this machine that tries configs of the same study
    outcome.py      what a study tells in the end: best config, table of trials, importance of fields

Optuna is imported where it is used, so that the rest of training does without it.
"""
