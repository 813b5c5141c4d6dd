"""Build a bento that holds the chosen versions of the chosen models, verified, and no others.

    make bento MODELS=flights:3,other

``MODELS`` is written like ``ROWCAST_MODELS``: without a version a name means its latest, and nothing the latest of
every model. `bentoml build` in the checkout, in contrast, takes every version that is in `models/repository`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rowcast.models.errors import ModelNotFound, RowcastError
from rowcast.models.repository import Repository
from rowcast.service.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
_FILES = ("rowcast/__init__.py", "bentofile.yaml", "requirements-serving.lock", "image/Dockerfile.j2")
_ROOMS = ("models", "service")


def stage(settings: Settings, context: Path) -> list[str]:
    """Copy what a bento is made of, with the versions that ``settings`` choose, into the empty folder ``context``.

    Returns:
        The versions, ``name:version``.

    Raises:
        ModelNotFound: there is no such model, or none at all.
        ModelRefused: a version is not the published one.
    """
    source = Repository(settings.repository)
    choices = settings.choices or [(name, None) for name in source.names()]
    if not choices:
        raise ModelNotFound(
            f"a bento needs a model; there is none in {source.root}; make one with `rowcast train`, "
            "or name another folder with ROWCAST_REPOSITORY"
        )
    for file in _FILES:
        (context / file).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / file, context / file)
    for room in _ROOMS:
        for pattern in ("*.py", "*.binpb"):
            for module in sorted((CHECKOUT / room).rglob(pattern)):
                (context / module.relative_to(CHECKOUT)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(module, context / module.relative_to(CHECKOUT))
    folders = sorted({source.resolve(name, version) for name, version in choices})
    copy = Repository(context / "models" / "repository")
    for folder in folders:
        name, version = folder.parent.name, folder.name
        shutil.copytree(folder, copy.root / name / version, symlinks=True)  # a link is refused, not followed
        copy.open(name, int(version))
    return [f"{folder.parent.name}:{folder.name}" for folder in folders]


def build(settings: Settings) -> tuple[str, list[str]]:
    """Build the bento into BentoML's store.

    Returns:
        Its tag, and the versions it holds.

    Raises:
        RowcastError: see :func:`stage`; or BentoML could not build it, and has said why.
    """
    with tempfile.TemporaryDirectory(prefix="rowcast-bento-") as folder:
        context = Path(folder)
        versions = stage(settings, context)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
        done = subprocess.run(
            [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
            cwd=context,
            env=environment | {"BENTOML_DO_NOT_TRACK": "True"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    tag = done.stdout.partition("__tag__:")[2].strip()
    if done.returncode != 0 or not tag:
        raise RowcastError("`bentoml build` failed: see above why")
    return tag, versions


def main() -> int:
    """Build what the environment chooses; 0 when the bento is there."""
    try:
        tag, versions = build(Settings.load())
    except RowcastError as error:
        print(f"bento: {error}", file=sys.stderr)
        return 1
    print(f'{tag} holds {", ".join(versions)}. Make its image with\n\n    TMPDIR="$PWD" bentoml containerize {tag}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
