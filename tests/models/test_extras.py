"""What is said where a package of an extra is not installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rowcast.models.errors import MissingPackage, RowcastError
from rowcast.models.extras import EXTRAS, missing, told_where_missing

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"scikit-learn": "sklearn", "backports.zstd": "backports", "hdrhistogram": "hdrh"}


@pytest.mark.parametrize("extra", ["train", "loadtest", "demo"])
def test_every_package_of_an_extra_is_known_by_the_name_it_is_imported_as(extra):
    packages = [re.split(r"[><=;\[ ]", line)[0] for line in PROJECT["optional-dependencies"][extra]]
    names = {IMPORTED_AS.get(package, package.replace("-", "_")) for package in packages}
    assert {name for name, of in EXTRAS.items() if of == extra} - {"rowcast.training"} == names


def test_a_module_within_a_package_is_told_by_its_package_and_any_other_is_left_alone():
    line = r"^optuna.trial is not installed: pip install 'rowcast\[train\]'$"
    with pytest.raises(MissingPackage, match=line), told_where_missing():
        raise ModuleNotFoundError("No module named 'optuna.trial'", name="optuna.trial")
    with pytest.raises(ModuleNotFoundError, match="mine"), told_where_missing():
        raise ModuleNotFoundError("No module named 'mine'", name="mine")
    assert missing(ModuleNotFoundError("nothing is named")) is None
    assert issubclass(MissingPackage, RowcastError)
    assert issubclass(MissingPackage, ImportError)
