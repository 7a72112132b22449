"""Log-Gabor atoms, the dictionaries made of them, and reading their parameters off an atom.

Orientation θ is that of the wave vector, counted from the direction of the rows (down) towards that
of the columns (right), modulo π. The stripes of an atom as it is displayed then run at θ,
counter-clockwise from horizontal: θ = 0 has horizontal stripes. `lib.orientation` counts in the
same way. Everything here is float64.
"""

from typing import NamedTuple

import numpy as np

from lib._checks import check_array, check_choice, check_count, check_flag, check_number, check_rng
from lib._loggabor import BANDWIDTH, F0, Grid, fit_one, starts

_SIZE = 12
_FORMULAS = ("text", "code")


class Dictionary(NamedTuple):
    """Atoms and what they were made with.

    Attributes
    ----------
    atoms : ndarray (K, height, width) float64
        In the order of θ, then Bθ, then phase.
    theta, b_theta, phase : ndarray (K,)
        In radians; NaN where atoms are noise.
    """

    atoms: np.ndarray
    theta: np.ndarray
    b_theta: np.ndarray
    phase: np.ndarray


class LogGaborFit(NamedTuple):
    """Parameters read off atoms: numbers for one atom, arrays (K,) for a stack.

    Attributes
    ----------
    theta : float or ndarray
        Orientation in [0, π).
    b_theta : float or ndarray
        Orientation bandwidth in radians, from 2° to 60°.
    phase : float or ndarray
        In [-π, π), about the atom's own centre; an atom times -1 differs by π.
    f0 : float or ndarray
        Central frequency in cycles per pixel, from 0.1 to 0.5.
    shift : ndarray (2,) or (K, 2)
        Rows and columns from the centre of the window to that of the atom.
    r2 : float or ndarray
        Share of the atom's variance over pixels that the log-Gabor explains.
    converged : bool or ndarray of bool
        Whether the optimiser met its tolerance with θ, Bθ and f0 inside their limits.
    """

    theta: float | np.ndarray
    b_theta: float | np.ndarray
    phase: float | np.ndarray
    f0: float | np.ndarray
    shift: np.ndarray
    r2: float | np.ndarray
    converged: bool | np.ndarray


def log_gabor(
    size=_SIZE,
    theta=0.0,
    b_theta=np.pi / 15,
    phase=0.0,
    *,
    f0=F0,
    bandwidth=BANDWIDTH,
    formula="code",
):
    """Make one log-Gabor atom.

    Parameters
    ----------
    size : int
        Height and width in pixels, at least 4.
    theta : float
        Orientation in radians (see the module's description).
    b_theta : float
        Orientation bandwidth in radians, above 0.
    phase : float
        In radians: 0 for an even atom, π/2 for an odd one.
    f0 : float
        Central frequency in cycles per pixel.
    bandwidth : float
        Frequency bandwidth: σ_f in cycles per pixel ("text"), or the standard deviation of ln f
        ("code").
    formula : {"code", "text"}
        See Notes.

    Returns
    -------
    ndarray (size, size) float64
        Of unit Euclidean norm ("text") or with a largest absolute value of 1 ("code").

    Raises
    ------
    ValueError
        An argument is not allowed.

    Notes
    -----
    "text" is Eq. 3 of Ladret et al. (2024),
    exp(-½ ln²(f/f0)/ln²(1 + σ_f/f0)) · exp(cos(2(θ - θ0))/(4σ_θ²)), with Bθ = σ_θ √(2 ln 2).
    What the text leaves open is done as follows: the spectrum is zero at f = 0, an odd phase is
    the quadrature of the even one (Hilbert transform along θ0), the atom is centred on pixel
    size // 2, it is not windowed, and it has the unit norm of Eq. 4.

    "code" does what the released dictionaries were made with. One lobe,
    (1/f) · exp(-½ ln²(f/f0)/σ²) · exp(cos(θ - θ0)/Bθ²), is kept below ½ by the factor
    1 - exp((f - ½)/0.035) and from the lowest frequencies by 1 - exp(-½ f²/(½/size)²). The real
    part in space is windowed by the cube root of a raised cosine, loses its median and is divided
    by its largest absolute value.
    """
    size = check_count("size", size, 4)
    theta, phase = check_number("theta", theta), check_number("phase", phase)
    b_theta = check_number("b_theta", b_theta, 0.0, open_minimum=True)
    f0 = check_number("f0", f0, 0.0, open_minimum=True)
    bandwidth = check_number("bandwidth", bandwidth, 0.0, open_minimum=True)
    check_choice("formula", formula, _FORMULAS)
    # Of a band that is too narrow for float64, no sample is left.
    with np.errstate(over="ignore", invalid="ignore"):
        pair = Grid(size, formula).pairs(theta, b_theta, f0, bandwidth=bandwidth)
    if not np.isfinite(pair).all():
        raise ValueError(f"bandwidth must be wider beside f0 {f0}, got {bandwidth}")
    atom = (pair * np.exp(-1j * phase)).real.reshape(size, size)
    if formula == "text":
        return atom / np.linalg.norm(atom)
    atom -= np.median(atom)
    return atom / np.abs(atom).max()


def heterogeneous_dictionary(protocol="code", unit_norm=False):
    """12 orientations × 6 bandwidths × 2 phases (0, π/2): 144 atoms of 12 × 12 pixels.

    Parameters
    ----------
    protocol : {"code", "text"}
        "code": Bθ = 5°, 10°, …, 30° and the released formula. "text": six Bθ from 3° to 30° and
        Eq. 3. See `log_gabor`.
    unit_norm : bool
        Scale atoms to unit Euclidean norm. Released ones have norms from 1.5 to 3.9; those of the
        "text" have norm 1 already.

    Returns
    -------
    Dictionary
        θ = 0°, 15°, …, 165°.
    """
    check_choice("protocol", protocol, _FORMULAS)
    degrees = np.arange(5.0, 31.0, 5.0) if protocol == "code" else np.linspace(3.0, 30.0, 6)
    return _dictionary(12, np.deg2rad(degrees), protocol, unit_norm)


def homogeneous_dictionary(protocol="code", unit_norm=False):
    """72 orientations × 2 phases (0, π/2), Bθ = 12°: 144 atoms of 12 × 12 pixels.

    Arguments are those of `heterogeneous_dictionary`. Released atoms have norms from 2.3 to 3.1;
    θ = 0°, 2.5°, …, 177.5°.
    """
    check_choice("protocol", protocol, _FORMULAS)
    return _dictionary(72, np.deg2rad([12.0]), protocol, unit_norm)


def random_dictionary(rng):
    """144 atoms of 12 × 12 pixels of standard normal noise, where learning from scratch starts.

    As released, they are not scaled: their norms are about 12. Learning projects atoms onto unit
    norm before its first step.

    Parameters
    ----------
    rng : numpy.random.Generator or int

    Returns
    -------
    Dictionary
        With NaN for orientation, bandwidth and phase.
    """
    atoms = check_rng(rng).standard_normal((144, _SIZE, _SIZE))
    return Dictionary(atoms, *np.full((3, len(atoms)), np.nan))


def fit_log_gabor(atoms, formula="code"):
    """Read orientation, bandwidth and phase off atoms by least squares.

    The model is gain · log-Gabor + offset, the log-Gabor with its window moved by up to a third of
    the size. Gain, phase and offset follow from linear regression at each step; θ, Bθ, f0 and
    shift start from the best entries of a grid that covers them. The frequency bandwidth stays at
    0.4.

    Parameters
    ----------
    atoms : array_like (size, size) or (K, size, size)
        Of any scale, sign and shift.
    formula : {"code", "text"}
        As for `log_gabor`.

    Returns
    -------
    LogGaborFit
        Poor fits have a low `r2`; none is left out.

    Raises
    ------
    ValueError
        Atoms are not square, not finite, or constant.

    Notes
    -----
    θ and Bθ mean something as far as `r2` is high. Where stripes are narrower than the samples of
    the spectrum are apart (Bθ below about 5° at 12 × 12 pixels), Bθ is hardly determined, and many
    θ fit alike: of a good fit (`r2` of 0.9 and more), θ is then the mean under the likelihood,
    for the best θ would be turned by up to 4° by noise of 5 % of an atom's root mean square.
    """
    atoms = check_array("atoms", atoms)
    single = atoms.ndim == 2
    atoms = atoms[None] if single else atoms
    if atoms.ndim != 3 or atoms.shape[1] != atoms.shape[2] or atoms.shape[1] < 4 or not len(atoms):
        raise ValueError(
            "atoms must have shape (size, size) or (K, size, size) with size >= 4, got "
            f"{atoms.shape[1:] if single else atoms.shape}"
        )
    check_choice("formula", formula, _FORMULAS)
    grid = Grid(atoms.shape[1], formula)
    pixels = atoms.reshape(len(atoms), -1)
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    scales = np.linalg.norm(pixels, axis=1)
    # A constant leaves rounding errors of its mean.
    flat = np.flatnonzero(scales <= 1e-12 * np.linalg.norm(atoms.reshape(len(atoms), -1), axis=1))
    if flat.size:
        raise ValueError(f"atoms must not be constant, got a constant atom at index {flat[0]}")
    pixels /= scales[:, None]
    own = starts(grid, pixels)
    rows = [fit_one(grid, *pair) for pair in zip(pixels, own, strict=True)]
    fit = LogGaborFit(*(np.array(column) for column in zip(*rows, strict=True)))
    return LogGaborFit(*(column[0] for column in fit)) if single else fit


def _dictionary(n_theta, b_theta, protocol, unit_norm):
    unit_norm = check_flag("unit_norm", unit_norm)
    thetas = np.linspace(0, np.pi, n_theta, endpoint=False)
    table = [(t, b, p) for t in thetas for b in b_theta for p in (0.0, np.pi / 2)]
    atoms = np.array([log_gabor(_SIZE, *row, formula=protocol) for row in table])
    if unit_norm:
        atoms /= np.linalg.norm(atoms, axis=(1, 2), keepdims=True)
    return Dictionary(atoms, *np.array(table).T)
