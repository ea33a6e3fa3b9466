"""Models on the host: batches of numpy arrays in, their values and derivatives out, or an error that says why not."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

_TRIED = 3


class AbstractHostModel(ABC):
    """F(y, c) for y (..., d) and c (...), of the same leading axes, which become one batch.

    Nothing here may call jax: it runs inside of a program.
    """

    name: str

    def __init__(self, batch: int | None):
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self.batch = batch
        self.eps = float(np.finfo(np.float64).eps)
        self._sound: set = set()

    @abstractmethod
    def evaluate(self, y: np.ndarray, c: np.ndarray) -> Any:
        """F on a batch of rows, as it comes."""

    @abstractmethod
    def pushed(self, y, c, width, dy, dc) -> np.ndarray:
        """dF[dy, dc] on a batch of rows."""

    @abstractmethod
    def pulled(self, y, c, width, w) -> tuple[np.ndarray, np.ndarray]:
        """w^T dF / dy and w^T dF / dc on a batch of rows."""

    def value(self, y, c) -> np.ndarray:
        """F(y, c)."""
        return self._rows(self.evaluate, y, c)

    def jvp(self, y, c, width, dy, dc) -> np.ndarray:
        """dF(y, c)[dy, dc]."""
        return self._rows(self.pushed, y, c, width, dy, dc)

    def vjp(self, y, c, width, w) -> np.ndarray:
        """(w^T dF / dy, w^T dF / dc) in one array."""

        def joined(*rows):
            of_y, of_c = self.pulled(*rows)
            return np.concatenate([of_y, of_c[:, None]], axis=1)

        return self._rows(joined, y, c, width, w)

    def check(self, dim: int, dtype: Any, condition: Callable[[], float]) -> None:
        """ValueError of one line unless F takes and gives batches of rows; tried once for each dimension and type."""
        if (dim, np.dtype(dtype)) in self._sound:
            return
        y = np.random.default_rng(0).standard_normal((_TRIED, dim)).astype(dtype)
        c = np.full(_TRIED, condition(), dtype)
        raw = self._attempt(y, c)
        shape = getattr(raw, "shape", None)
        if shape is None:
            raise ValueError(f"{self.name} returns a {type(raw).__name__}: it must return one array of shape (n, d)")
        if tuple(shape) != y.shape:
            raise ValueError(
                f"{self.name} returns shape {tuple(shape)} for points of shape {y.shape}: it must be equal"
            )
        if not _is_floating(raw):
            raise ValueError(f"{self.name} returns {raw.dtype}: it must return real floating-point numbers")
        self.eps = float(np.finfo(raw.dtype).eps)
        self._compare_rows(np.asarray(raw, np.float64), y, c)
        self._sound.add((dim, np.dtype(dtype)))

    def _compare_rows(self, together, y, c):
        alone = np.asarray(self._attempt(y[:1], c[:1]), np.float64)
        size = np.nanmax(np.abs(together[:1]), initial=0.0)
        if not np.allclose(alone, together[:1], rtol=1e-3, atol=1e-4 * size, equal_nan=True):
            raise ValueError(
                f"{self.name} gives a row another value alone than in a batch: it must treat rows one by one and "
                "without chance (call module.eval() on one with dropout or batch norm)"
            )

    def _attempt(self, y, c):
        try:
            return self.evaluate(y, c)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0][:200]
            raise ValueError(
                f"{self.name} raised {type(error).__name__} ({first}) on points of shape {y.shape} and noise of shape "
                f"{c.shape}: it must take such batches, wrap it in a function that does"
            ) from None

    def _rows(self, f, y, *others):
        """f on (n, d) rows, at most `batch` at a time, and back in the shape and the type of y."""
        y = np.array(y)
        lead, dtype = y.shape[:-1], y.dtype
        count = math.prod(lead)
        flat = [np.array(a).reshape(count, *np.shape(a)[len(lead) :]) for a in (y, *others)]
        size = max(self.batch or count, 1)
        parts = [np.asarray(f(*(a[i : i + size] for a in flat)), dtype) for i in range(0, count, size)]
        out = np.concatenate(parts)
        return out.reshape(*lead, out.shape[-1])


class TorchModel(AbstractHostModel):
    """A PyTorch module, or function of tensors, on the device and in the precision of its first parameter."""

    name = "the torch module"

    def __init__(self, module: Any, batch: int | None):
        super().__init__(batch)
        if not callable(module):
            raise ValueError(f"from_torch takes a torch module or a function of tensors, got {type(module).__name__}")
        self.module: Any = module
        self.torch = _torch()
        values = [*self.module.parameters(), *self.module.buffers()] if isinstance(module, self.torch.nn.Module) else []
        first = next((p for p in values if p.is_floating_point()), None)
        self.place = {} if first is None else {"device": first.device, "dtype": first.dtype}

    def evaluate(self, y, c):
        with self.torch.no_grad():
            return _on_host(self.module(self._tensor(y), self._tensor(c)))

    def pushed(self, y, c, width, dy, dc):
        at, along = (self._tensor(y), self._tensor(c)), (self._tensor(dy), self._tensor(dc))
        return _on_host(self.torch.func.jvp(self.module, at, along)[1])

    def pulled(self, y, c, width, w):
        pull: Any = self.torch.func.vjp(self.module, self._tensor(y), self._tensor(c))[1]
        of_y, of_c = pull(self._tensor(w))
        return np.asarray(_on_host(of_y)), np.asarray(_on_host(of_c))

    def _tensor(self, a):
        return self.torch.from_dlpack(np.ascontiguousarray(a)).to(**self.place)


class NumpyModel(AbstractHostModel):
    """A function of numpy arrays; its derivatives are given, or central differences."""

    name = "the numpy function"

    def __init__(self, function: Callable, batch: int | None, jvp: Callable | None, step: float | None):
        super().__init__(batch)
        if not callable(function):
            raise ValueError(f"from_numpy takes a function of two arrays, got {type(function).__name__}")
        self.function, self.given, self.step = function, jvp, step

    def evaluate(self, y, c):
        return self.function(np.array(y, np.float64), np.array(c, np.float64))

    def pushed(self, y, c, width, dy, dc):
        if self.given is not None:
            return self.given(*(np.array(a, np.float64) for a in (y, c, dy, dc)))
        y, c, width, dy, dc = (np.array(a, np.float64) for a in (y, c, width, dy, dc))
        size = np.linalg.norm(dy, axis=1)
        unit = dy / np.where(size > 0, size, 1.0)[:, None]
        out = size[:, None] * self._difference(y, c, width[:, None] * unit, 0 * c) / width[:, None]
        if np.any(dc):
            own = np.where(c != 0, np.abs(c), 1.0)
            out = out + (dc / own)[:, None] * self._difference(y, c, 0 * y, own)
        return out

    def pulled(self, y, c, width, w):
        d, zero = y.shape[1], 0 * c
        columns = [self.pushed(y, c, width, np.broadcast_to(e, y.shape), zero) for e in np.eye(d)]
        of_c = self.pushed(y, c, width, 0 * y, zero + 1)
        return np.stack([np.sum(w * column, axis=1) for column in columns], axis=1), np.sum(w * of_c, axis=1)

    def _difference(self, y, c, dy, dc):
        """(F(. + h d) - F(. - h d)) / 2 h, with both ends in one call."""
        h = self.step or self.eps ** (1 / 3)
        ends = self.evaluate(np.concatenate([y + h * dy, y - h * dy]), np.concatenate([c + h * dc, c - h * dc]))
        above, below = np.split(np.asarray(ends, np.float64), 2)
        return (above - below) / (2 * h)


def _torch():
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("from_torch needs PyTorch: pip install torch") from None
    return torch


def _on_host(tensor):
    if not hasattr(tensor, "detach"):
        return tensor  # for `check` to complain about
    short = tensor.is_floating_point() and tensor.element_size() < 4
    return (tensor.float() if short else tensor).detach().cpu().numpy()


def _is_floating(a) -> bool:
    return np.issubdtype(np.dtype(a.dtype), np.floating)
