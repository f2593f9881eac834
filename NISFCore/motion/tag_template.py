"""What tags look like at ED, learned from the first frame itself: a template of their harmonics.

A train of pulses leaves a polynomial of cos(k X + p) in the tissue, whose higher orders make lines
sharp (`phantom.tag_pattern`; 1-3-3-1 SPAMM has three), and a grid is the product of two. Blurred by
the scanner, that is a Fourier series over whole multiples n of the waves' phases,

    T(X) = sum_n a_n cos(n theta) + b_n sin(n theta),   theta_w = k_w X + p_w

with I_0(X) = B(X) (mean + T(X)), where the brightness B varies slowly (coil). Coefficients and
brightness are found in turns by linear least squares. Tags of all orders fade alike, as the
magnetisation recovers: mean and contrast are left to who compares.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from NISFCore.motion.similarity import local_windows

MAX_ORDER = 3
MIN_AMPLITUDE_SE = 3.0
"""Orders whose amplitude is less than so many standard errors are noise and left out."""
N_TURNS = 3
BRIGHTNESS_WAVES = 1.0
"""Standard deviation of the windows of brightness, over the distance of the lines."""
MIN_GAIN = 0.1
"""Least brightness, over the mean."""
RIDGE = 1e-6


@dataclass(frozen=True)
class TagTemplate:
    """Tags at ED as a function of the tissue's place there.

    Attributes:
        vectors: `(n_terms, n_dims)` rad/mm in local coordinates: n k.
        phases_rad: `(n_terms,)` n p, at their origin.
        cosines, sines: `(n_terms,)` a and b, in units of the tissue's mean brightness.
    """

    vectors: Tensor
    phases_rad: Tensor
    cosines: Tensor
    sines: Tensor

    def at(self, points: Tensor) -> Tensor:
        """T `(n,)` at local points `(n, n_dims)`, without its mean."""
        phase = points @ self.vectors.T + self.phases_rad
        return phase.cos() @ self.cosines + phase.sin() @ self.sines

    def gradient(self, points: Tensor) -> Tensor:
        """dT/dX `(n, n_dims)` per mm."""
        phase = points @ self.vectors.T + self.phases_rad
        return (phase.cos() * self.sines - phase.sin() * self.cosines) @ self.vectors


@dataclass(frozen=True)
class Waves:
    """The fundamental waves of a series' tags.

    Attributes:
        vectors: `(n_waves, n_dims)` rad/mm in local coordinates.
        phases_rad: `(n_waves,)` at their origin.
        by_pixel: `(n_waves, 2)` rad per column and per row of the images.
    """

    vectors: Tensor
    phases_rad: Tensor
    by_pixel: Tensor

    def orders(self) -> Tensor:
        """`(n_terms, n_waves)` multiples that pixels resolve, one of n and -n: a wave of more than
        pi per pixel is seen as another one."""
        n_waves = len(self.vectors)
        signed = product(range(-MAX_ORDER, MAX_ORDER + 1), repeat=n_waves)
        half = torch.tensor([n for n in signed if n > (0,) * n_waves], dtype=torch.float32)
        is_resolved = ((half @ self.by_pixel).abs() < torch.pi).all(dim=1)
        return half[_is_wave(half) | is_resolved]

    def template(self, orders: Tensor, cosines: Tensor, sines: Tensor) -> TagTemplate:
        """Of these orders `(n_terms, n_waves)`."""
        return TagTemplate(orders @ self.vectors, orders @ self.phases_rad, cosines, sines)

    @property
    def spacing_mm(self) -> float:
        """Largest distance of lines."""
        return 2 * torch.pi / float(self.vectors.norm(dim=1).min())


def fitted_template(waves: Waves, points: Tensor, values: Tensor, trust: Tensor) -> TagTemplate:
    """The template of tissue that has not moved.

    Args:
        points: `(n, n_dims)` local mm.
        values: `(n,)` intensities there.
        trust: `(n,)` in [0, 1]: what a point counts, little on the wall's borders.
    """
    y = values / (trust @ values / trust.sum()).clamp_min(1e-9)
    windows = local_windows(points, BRIGHTNESS_WAVES * waves.spacing_mm, 1.0)
    gain = _ratio(windows.mean(trust * y), windows.mean(trust))
    orders = waves.orders()
    for _ in range(N_TURNS):
        design = _design(waves, orders, points)
        c, amplitude_se = _least_squares(design, y, gain, trust)
        shown = design @ c
        gain = _ratio(windows.mean(trust * shown * y), windows.mean(trust * shown.square()))
    amplitude = c[1:].unflatten(0, (2, -1)).norm(dim=0)
    orders = orders[(amplitude > MIN_AMPLITUDE_SE * amplitude_se) | _is_wave(orders)]
    c, _ = _least_squares(_design(waves, orders, points), y, gain, trust)
    return waves.template(orders, *c[1:].unflatten(0, (2, -1)))


def _is_wave(orders: Tensor) -> Tensor:
    """Which orders `(n_terms, n_waves)` are a wave itself."""
    return orders.abs().sum(dim=1) == 1


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return (a / b.clamp_min(1e-9)).clamp_min(MIN_GAIN)


def _design(waves: Waves, orders: Tensor, points: Tensor) -> Tensor:
    """`(n, 1 + 2 n_terms)`: 1, cosines, sines."""
    phase = points @ (orders @ waves.vectors).T + orders @ waves.phases_rad
    return torch.cat([torch.ones_like(phase[:, :1]), phase.cos(), phase.sin()], dim=1)


def _least_squares(
    design: Tensor, values: Tensor, gain: Tensor, trust: Tensor
) -> tuple[Tensor, Tensor]:
    """Coefficients `(1 + 2 n_terms,)` of values = gain (design c), and the standard errors
    `(n_terms,)` of the amplitudes."""
    X = (design * gain[:, None]).double()
    w, y = trust.double(), values.double()
    A = X.T @ (w[:, None] * X)
    A.diagonal().add_(RIDGE * float(A.diagonal().mean()))
    inverse = torch.linalg.inv(A)
    c = inverse @ (X.T @ (w * y))
    dof = max(1.0, float(w.sum()) - len(c))
    variance = float((w * (y - X @ c).square()).sum()) / dof
    errors = variance * inverse.diagonal()[1:].unflatten(0, (2, -1)).mean(dim=0)
    return c.float(), errors.sqrt().float()
