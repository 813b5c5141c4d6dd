"""Rowcast: train a network on a table, get one ONNX file, serve it. This is its Python API.

>>> import rowcast
>>> model = rowcast.fit(frame, target="price")          # doctest: +SKIP
>>> model.predict(new_rows)                             # doctest: +SKIP
>>> client = rowcast.Client("http://127.0.0.1:3000")    # doctest: +SKIP
>>> client.predict(new_rows)                            # doctest: +SKIP

What is here stands in ``rowcast/api/`` and ``rowcast/client/``, and is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

# The folders models/, training/, service/ and loadtest/ stand at the top of a checkout and are modules of this package
# by links that git keeps: mypy, pytest and editors follow them, ruff reads each file once, at its own place. A wheel
# maps the folders (pyproject.toml) and needs no links. A bento and a clone on Windows hold the folders without the
# links: there, the rooms are found beside this package.
if not os.path.isdir(os.path.join(os.path.dirname(__file__), "service")):
    __path__.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rowcast.models.errors import RowcastError
from rowcast.models.names import DEFAULT_REPOSITORY as DEFAULT_REPOSITORY
from rowcast.models.version import VERSION

if TYPE_CHECKING:
    from rowcast.api.comparing import compare
    from rowcast.api.crossvalidating import crossvalidate
    from rowcast.api.fitting import fit
    from rowcast.api.loading import load
    from rowcast.api.looking import look
    from rowcast.api.model import Model
    from rowcast.api.tuning import tune
    from rowcast.client import AsyncClient, Client, ClientError

__all__ = ["AsyncClient", "Client", "ClientError", "Model", "RowcastError"]
__all__ += ["compare", "crossvalidate", "fit", "load", "look", "tune"]
__version__ = VERSION

logging.getLogger("rowcast").addHandler(logging.NullHandler())  # whoever wants the lines says where they go

_WHERE = {
    "AsyncClient": "rowcast.client",
    "Client": "rowcast.client",
    "ClientError": "rowcast.client",
    "Model": "rowcast.api.model",
    "compare": "rowcast.api.comparing",
    "crossvalidate": "rowcast.api.crossvalidating",
    "fit": "rowcast.api.fitting",
    "load": "rowcast.api.loading",
    "look": "rowcast.api.looking",
    "tune": "rowcast.api.tuning",
}
"""The module of each public name. None is imported before it is used: a service needs none, a client no training."""


def __dir__() -> list[str]:
    """What users may call, and nothing that this module needs itself."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    why = ""
    if name in _WHERE:
        try:
            return getattr(importlib.import_module(_WHERE[name]), name)
        except ModuleNotFoundError as error:  # a bento holds a service alone; hasattr() asks for an AttributeError
            why = f": {error}"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{why}")
