"""What a test reaches, told before it runs: does it, or a fixture that it asks for, start a process or fit a network?

The code of the test and of its fixtures names what it uses; functions and classes of tests, benchmarks,
proofs and loadtest are followed, other modules of the product are not, but for those that fit. So a test that begins to
use a service is told apart by itself.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

PROCESSES = ("subprocess", "multiprocessing")
FOLLOWED = ("tests.", "benchmarks.", "proofs.", "rowcast.loadtest.")
FITS = {
    ("rowcast.api.fitting", "fit"),
    ("rowcast.sklearn", "RowcastClassifier"),
    ("rowcast.sklearn", "RowcastRegressor"),
    ("rowcast.cli.train", "train"),
    ("rowcast.cli.crossvalidate", "crossvalidate"),
    ("rowcast.cli.tune", "tune"),
    ("rowcast.api.tuning", "tune"),
    ("rowcast.training.tune.run", "tune"),
    ("rowcast.training.train", "train"),
    ("rowcast.training.fit_network", "fit_network"),
    ("rowcast.training.bagging.fit", "fit_bag"),
    ("rowcast.training.crossvalidate", "cross_validate"),
}
"""Where what fits is defined; a test may import it from elsewhere."""
STARTS = {("rowcast.service.live.candidate", "try_version"), ("rowcast.service.live.swaps", "Swaps")}
"""What starts a process, in the product."""
PROPERTY = ("hypothesis.core", "given")
COMMAND = ("rowcast.cli.app", "main")
COMMANDS_THAT_FIT = {"train", "crossvalidate", "tune", "demo"}


def marks(item: pytest.Function) -> set[str]:
    """``process`` and ``fit``, where a test or one of its fixtures reaches the one or the other; ``property``.

    A property may be one that a test makes and tries by itself.
    """
    fixtures = [one.func for definitions in item._fixtureinfo.name2fixturedefs.values() for one in definitions]
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    functions = [item.function, *fixtures, *(value for value in given if isinstance(value, FunctionType | type))]
    found = {mark for function in functions for mark in reached(function)}
    return found | ({"property"} if hasattr(item.function, "hypothesis") else set())


@functools.cache
def reached(function: Callable[..., Any]) -> frozenset[str]:
    """What a function, and whatever of tests it names, reaches."""
    found, seen, left = set(), set(), [function]
    said: set[object] = set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        said |= _texts(one)
        for named in _named(one):
            if isinstance(named, ModuleType):
                found |= {"process"} if named.__name__.partition(".")[0] in PROCESSES else set()
            elif not isinstance(named, FunctionType | type):
                continue
            elif (named.__module__, named.__name__) == PROPERTY:
                found.add("property")
            elif (named.__module__, named.__name__) == COMMAND:
                found.add("command")
            elif (named.__module__, named.__name__) in FITS:
                found.add("fit")
            elif (named.__module__, named.__name__) in STARTS:
                found.add("process")
            elif str(named.__module__).startswith(FOLLOWED):  # some made by C have no module
                left.append(named)
    if "command" in found and said & COMMANDS_THAT_FIT:
        found.add("fit")
    return frozenset(found - {"command"})


def _named(thing: object) -> Iterator[object]:
    """Every module, function and class that the code of a function or of a class names."""
    if isinstance(thing, type):
        yield from (value for value in vars(thing).values() if callable(value))
        yield from thing.__bases__
    if hasattr(thing, "hypothesis"):
        yield thing.hypothesis.inner_test
    thing = getattr(thing, "__wrapped__", thing)
    if not isinstance(thing, FunctionType):
        return
    names = set(_names(thing.__code__))
    for name in names:
        named = thing.__globals__[name] if name in thing.__globals__ else _imported(name)
        yield named
        if isinstance(named, ModuleType):
            public = getattr(named, "__all__", ())  # these may be imported when they are asked for
            yield from (getattr(named, other, None) if other in public else vars(named).get(other) for other in names)
    yield from (cell.cell_contents for cell in thing.__closure__ or () if _is_set(cell))


def _imported(name: str) -> object:
    """The module of an import inside a function, or None."""
    if name in {module for module, _ in FITS} or name.startswith(FOLLOWED):
        return importlib.import_module(name)
    return sys.modules.get(name)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _texts(thing: object) -> set[object]:
    """Every text that the code of a function holds, alone or in a tuple."""
    code = getattr(getattr(thing, "__wrapped__", thing), "__code__", None)
    found: set[object] = set()
    left = [code] if code else []
    while left:
        for constant in left.pop().co_consts:
            if isinstance(constant, CodeType):
                left.append(constant)
            else:
                found |= {one for one in (constant if isinstance(constant, tuple) else [constant]) if type(one) is str}
    return found


def _is_set(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
