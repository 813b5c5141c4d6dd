"""A torch module of one's own, in place of the layers: behind the same embeddings, through the same fit and gate.

    def build(d_in: int, d_out: int) -> nn.Module: ...

The module takes ``[rows, d_in]`` float32, all columns side by side: numbers and levels embedded, or with
``preset="textbook"`` standardised and one-hot. It gives ``[rows, d_out]``: logits of the classes; or the prediction in
the network's units (the target at mean 0 and deviation 1) and, where ``d_out`` is 3, a lower and an upper quantile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rowcast.models.errors import ConfigError
from rowcast.training.network.network import Embedded, NetworkConfig

NetworkBuilder = Callable[[int, int], nn.Module]
"""Takes the width of a row and how many outputs there are; gives a module with fresh weights."""
_ROWS = 6
_APART = 1e-3
"""Beside the largest output: by more, a row's answer hangs on its neighbours or on chance, and not on rounding."""


class OwnNetwork(Embedded):
    """Embeddings and a module of one's own, which is the one member.

    Shape: ``Encoded, [rows, n_categories] int64 -> [1, rows, n_outputs]``.

    Raises:
        ConfigError: what is built is no module, or does not answer as it must; names the layer.
    """

    def __init__(
        self,
        build: NetworkBuilder,
        config: NetworkConfig,
        n_features: int,
        d_encoded: int,
        level_counts: Sequence[int],
        n_outputs: int,
        *,
        n_binary: int = 0,
        word_counts: Sequence[int] = (),
    ) -> None:
        super().__init__(config, n_features, d_encoded, level_counts, n_binary, word_counts)
        self.module = built(build, self.d_in, n_outputs)
        self._n_kept = n_outputs

    def _members(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out[:, : self._n_kept].unsqueeze(0)

    def keep_first(self) -> None:
        """Forget all outputs but the first."""
        self._n_kept = 1


def built(build: NetworkBuilder, d_in: int, d_out: int) -> nn.Module:
    """The module that a function builds, once it has shown on a few rows that it answers as it must.

    Raises:
        ConfigError: it does not.
    """
    call = f"network({d_in}, {d_out})"
    if isinstance(build, nn.Module):
        raise ConfigError(
            "network= must be a function of two widths that builds a module, such as lambda d_in, d_out: ..., so that "
            f"each fit starts from fresh weights; got a {type(build).__name__}, which is built already"
        )
    try:
        module = build(d_in, d_out)
    except Exception as error:
        raise ConfigError(f"{call} must build a module, got {_first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{call} must give a torch.nn.Module, got {type(module).__name__}")
    with torch.random.fork_rng(devices=[]):
        _check(module, call, d_in, d_out)
    return module


def _check(module: nn.Module, call: str, d_in: int, d_out: int) -> None:
    x = torch.randn(_ROWS, d_in, generator=torch.Generator().manual_seed(0))
    module.eval()
    with torch.no_grad():
        out, seen = _run(module, call, x)
        _check_shape(out, call, d_out)
        layer = _first_apart(seen, _run(module, call, x)[1])
        if layer is not None:
            raise ConfigError(
                f"{call} must give the same answer each time once it is trained, got another from {layer}: what is "
                "random belongs in training alone, see self.training"
            )
        half = _ROWS // 2
        layer = _first_apart({name: rows[:half] for name, rows in seen.items()}, _run(module, call, x[:half])[1])
        if layer is not None:
            raise ConfigError(
                f"{call} must answer a row whatever its neighbours, got an answer that hangs on them from {layer}"
            )
    module.train()
    out, _ = _run(module, call, x)
    _check_shape(out, call, d_out)
    if not out.requires_grad:
        raise ConfigError(f"{call} must have weights to learn, got outputs that hang on none")


def _check_shape(out: Any, call: str, d_out: int) -> None:
    wanted = f"[rows, {d_out}] of floats for [rows, d_in], here [{_ROWS}, {d_out}]"
    if not isinstance(out, Tensor):
        raise ConfigError(f"{call} must give a tensor {wanted}, got {type(out).__name__}")
    if tuple(out.shape) != (_ROWS, d_out) or not out.is_floating_point():
        raise ConfigError(
            f"{call} must give {wanted}, got {list(out.shape)} of {str(out.dtype).removeprefix('torch.')}"
        )
    if not bool(torch.isfinite(out).all()):
        raise ConfigError(f"{call} must give finite numbers, got {float(out[~torch.isfinite(out)][0]):g}")


def _run(module: nn.Module, call: str, x: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """The answers of a module, and the tensors that its layers gave on the way, in the order in which they ended."""
    seen: dict[str, Tensor] = {}
    with watched(module, lambda layer, _, out: seen.setdefault(layer, out)) as within:
        try:
            return module(x), seen
        except Exception as error:
            raise ConfigError(f"{call} fails on {list(x.shape)} in {within()}: {_first_line(error)}") from error


@contextmanager
def watched(module: nn.Module, ended: Callable[[str, tuple[Any, ...], Tensor], Any]) -> Iterator[Callable[[], str]]:
    """Call ``ended`` with a layer's name, its inputs and its output whenever a layer of a module has run.

    Gives a function that names the layer that runs at that moment.
    """
    inside: list[str] = []
    hooks = []

    def after(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            inside.pop()
            if isinstance(out, Tensor):
                ended(name, inputs, out)

        return hook

    for path, layer in module.named_modules():
        name = name_of_layer(path, layer)
        hooks.append(layer.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        hooks.append(layer.register_forward_hook(after(name)))
    try:
        yield lambda: inside[-1] if inside else name_of_layer("", module)
    finally:
        for handle in hooks:
            handle.remove()


def name_of_layer(path: str, layer: nn.Module) -> str:
    """A layer as messages name it."""
    kind = type(layer).__name__
    return f"layer {path!r} ({kind})" if path else f"the module itself ({kind})"


def _first_apart(once: dict[str, Tensor], again: dict[str, Tensor]) -> str | None:
    """The first layer that gave something else."""
    for name, rows in once.items():
        other = again.get(name)
        if other is None or other.shape != rows.shape:
            continue
        size = float(rows.abs().max().clamp(min=1.0)) if rows.numel() else 1.0
        if rows.is_floating_point() and float((rows - other).abs().max()) > _APART * size:
            return name
    return None


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
