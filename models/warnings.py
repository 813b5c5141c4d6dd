"""Every warning that Rowcast gives in Python: what a person should know, and may decide to ignore.

RowcastWarning              something about the table, the fit or the model that calls for a look
├── TooFewRowsWarning       so few rows are held out that metrics prove nothing
├── LeakageWarning          an input seems to tell the target
└── InterruptedWarning      a signal ended the fit before it was over

A decision that is one of these is a :class:`Caution`: a sentence like any other where decisions are listed, and a
warning of its class where Python asks for the fit.
"""

from __future__ import annotations


class RowcastWarning(UserWarning):
    """Base of the family: ``warnings.simplefilter("ignore", RowcastWarning)`` silences all of it."""


class TooFewRowsWarning(RowcastWarning):
    """So few rows are held out that metrics prove nothing."""


class LeakageWarning(RowcastWarning):
    """An input seems to tell the target."""


class InterruptedWarning(RowcastWarning):
    """A signal ended the fit before it was over; the model has the best weights so far."""


class Caution(str):
    """A decision that is also a warning.

    >>> Caution("ten rows prove nothing", TooFewRowsWarning).category.__name__
    'TooFewRowsWarning'
    """

    __slots__ = ("category",)
    category: type[RowcastWarning]

    def __new__(cls, text: str, category: type[RowcastWarning]) -> Caution:
        """``text`` is the sentence, ``category`` the class of the warning."""
        made = super().__new__(cls, text)
        made.category = category
        return made
