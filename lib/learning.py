"""What learning did to a dictionary: orientations, bandwidths, cardinal bias."""

import numpy as np

from lib._checks import check_array, check_number


def cardinal_share(theta, weights=None, within=np.pi / 12):
    """Share of orientations within some angle of 0 or π/2.

    Parameters
    ----------
    theta : ndarray (K,)
        In radians, modulo π.
    weights : ndarray (K,) or (n, K), optional
        Weight of each orientation, such as how often an atom is used; equal if not given.
    within : float
        In radians, at most π/4.

    Returns
    -------
    float or ndarray (n,)
        Uniform orientations give 4 · within / π.
    """
    theta = check_array("theta", theta, (None,))
    within = check_number("within", within, 0, open_minimum=True, maximum=np.pi / 4)
    weights = np.ones(len(theta)) if weights is None else check_array("weights", weights)
    if weights.shape[-1:] != theta.shape or (weights < 0).any() or (weights.sum(-1) == 0).any():
        raise ValueError(
            f"weights must be >= 0, some of them > 0, for each of {len(theta)} orientations, "
            f"got shape {weights.shape}"
        )
    # Orientations on a grid may lie on the limit, on whose one side or other rounding puts them.
    near = np.abs((theta + np.pi / 4) % (np.pi / 2) - np.pi / 4) <= within + 1e-9
    share = weights @ near / weights.sum(axis=-1)
    return float(share) if share.ndim == 0 else share


def density(theta, b_theta, theta_grid, b_grid, widths):
    """Kernel density of atoms over orientation, modulo π, and bandwidth (Ladret et al., Fig. 3a).

    Parameters
    ----------
    theta, b_theta : ndarray (K,)
        In radians.
    theta_grid : ndarray (n,)
    b_grid : ndarray (m,)
    widths : tuple of float
        Standard deviations of the Gaussian kernel in θ and Bθ, in radians.

    Returns
    -------
    ndarray (m, n)
        Per square radian; integrates to 1 over θ in [0, π) and all Bθ.
    """
    theta = check_array("theta", theta, (None,))
    b_theta = check_array("b_theta", b_theta, (len(theta),))
    theta_grid = check_array("theta_grid", theta_grid, (None,))
    b_grid = check_array("b_grid", b_grid, (None,))
    if not len(theta) or np.shape(widths) != (2,):
        raise ValueError(
            f"theta must hold an orientation and widths two numbers, got {len(theta)}, {widths!r}"
        )
    widths = [check_number("widths", width, 0, open_minimum=True) for width in widths]
    away = (theta_grid[:, None] - theta + np.pi / 2) % np.pi - np.pi / 2
    # The kernel's tail on the other side of the half circle matters only if it is very wide.
    around = sum(_gauss(away + shift, widths[0]) for shift in (-np.pi, 0, np.pi))
    return _gauss(b_grid[:, None] - b_theta, widths[1]) @ around.T / len(theta)


def _gauss(x, width):
    with np.errstate(over="ignore"):
        return np.exp(-0.5 * (x / width) ** 2) / (width * np.sqrt(2 * np.pi))
