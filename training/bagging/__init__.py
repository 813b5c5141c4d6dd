"""Fits that each leave out a fold of the training rows, and whose members answer together in one graph.

:mod:`~rowcast.training.bagging.plan` says which rows each of them sees, :mod:`~rowcast.training.bagging.prepare` reads
them, :mod:`~rowcast.training.bagging.rounds` fits, :mod:`~rowcast.training.bagging.select` says which members answer,
:mod:`~rowcast.training.bagging.fit` calibrates them, and :mod:`~rowcast.training.bagging.core` is what is exported.

Every fold has a front of its own. One front for all would be fitted on rows that no fold is measured on; but levels are
known from ten rows on, so a front that saw a fifth of the rows would know fewer of them, and those rows would have no
answer out of fold.
"""
