"""Whatever comes in: the documented result, or a ValueError that names the argument.

Each argument of each call in `calls` is spoilt in every way that is listed here, and at random.
Then one of two things must happen: the call returns, without a warning and without a NaN that is
not documented, or `lib` itself refuses by a ``raise`` of its own (no traceback ends inside NumPy,
SciPy or torch) that says which argument is wrong. In either case inputs stay as they were.
"""

import inspect
import linecache
import math
import pathlib
import re
import traceback
import warnings

import numpy as np
import pytest
import torch
from calls import CALLS, NO_ARGUMENTS, public_functions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lib

FOLDER = pathlib.Path(lib.__file__).parent
# Least number of cases in all, and of random ones for each argument.
LEAST, EXAMPLES = 20_000, 15


def _with(array, value, where=-1):
    """Copy of an array with one entry replaced."""
    array = array.copy()
    if array.size:
        array.flat[where] = value
    return array


class Lazy:
    """Something that is no array."""


# How an array is spoilt. Names are what a failing test shows.
ARRAYS = {
    "NaN": lambda a: _with(a.astype(float), np.nan),
    "first NaN": lambda a: _with(a.astype(float), np.nan, 0),
    "infinite": lambda a: _with(a.astype(float), np.inf),
    "minus infinite": lambda a: _with(a.astype(float), -np.inf, 0),
    "empty": lambda a: a[:0],
    "last axis empty": lambda a: a[..., :0],
    "one entry": lambda a: a[:1],
    "last axis of one": lambda a: a[..., :1],
    "a row less": lambda a: a[:-1],
    "a column less": lambda a: a[..., :-1],
    "no axis": lambda a: a.flat[0],
    "no axis, array": lambda a: np.array(a.flat[0]),
    "an axis less": lambda a: a[0] if a.ndim else a,
    "an axis more": lambda a: a[None],
    "a last axis more": lambda a: a[..., None],
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "bytes": lambda a: a.astype("S8"),
    "complex": lambda a: a.astype(complex),
    "bool": lambda a: a > 0,
    "dates": lambda a: np.zeros(a.shape, "datetime64[s]"),
    "records": lambda a: np.zeros(a.shape, [("x", float)]),
    "float16": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "int8": lambda a: a.astype(np.int8),
    "uint64": lambda a: np.abs(a).astype(np.uint64),
    "masked": lambda a: np.ma.masked_array(a, mask=np.arange(a.size).reshape(a.shape) == 1),
    "masked nothing": lambda a: np.ma.masked_array(a),
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "None": lambda a: None,
    "a word": lambda a: "word",
    "an object": lambda a: Lazy(),
    "a dict": lambda a: {"a": 1},
    "a set": lambda a: {1.0, 2.0},
    "numbers from a generator": lambda a: (float(x) for x in a.flat),
    "zero": lambda a: np.zeros_like(a),
    "constant": lambda a: np.ones_like(a),
    "constant and large": lambda a: np.full(a.shape, 1e12),
    "negative": lambda a: -1.0 * a,
    "offset": lambda a: a + 1e8,
    "large offset": lambda a: a + 1e15,
    "huge offset": lambda a: a + 1e160,
    "large": lambda a: a * 1e20,
    "huge": lambda a: a * 1e160,
    "immense": lambda a: a * (1e307 / max(np.abs(a).max(initial=0), 1)),
    "small": lambda a: a * 1e-20,
    "tiny": lambda a: a * 1e-160,
    "subnormal": lambda a: a * 1e-310,
    "one huge": lambda a: _with(a.astype(float), 1e160),
    "one tiny": lambda a: _with(a.astype(float), 1e-160),
    "gradient wanted": lambda a: torch.tensor(np.array(a, float), requires_grad=True),
    "half tensor": lambda a: torch.tensor(np.array(a, float)).half(),
    "bfloat16 tensor": lambda a: torch.tensor(np.array(a, float)).bfloat16(),
    "complex tensor": lambda a: torch.tensor(np.array(a, float)).cfloat(),
    "sparse tensor": lambda a: torch.tensor(np.array(a, float)).to_sparse(),
    "tensor elsewhere": lambda a: torch.tensor(np.array(a, float)).to("meta"),
}
FLOAT32 = ("csc", "dictlearn", "codes", "pruning", "scan", "code_statistics")
LARGE = "large|huge|immense|offset"
# Other ways to store the same numbers, which must give the same result.
LAYOUTS = {
    "not contiguous": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed strides": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "Fortran order": np.asfortranarray,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "not aligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "subclass": lambda a: a.view(type("Own", (np.ndarray,), {})),
}
NUMBERS = {
    **{"NaN": math.nan, "infinite": math.inf, "minus infinite": -math.inf, "zero": 0.0},
    **{"negative": -1.0, "tiny": 1e-160, "huge": 1e160, "immense": 1e307, "subnormal": 5e-324},
    **{"None": None, "text": "1", "bool": True, "complex": 1j, "list": [1.0], "object": Lazy()},
    **{"long": 10**400, "float32": np.float32(0.5), "bytes": b"1", "array": np.array([0.5, 0.5])},
    **{"no axis": np.array(0.5), "tensor": torch.tensor(0.5), "masked": np.ma.masked},
}
COUNTS = {
    **{"zero": 0, "negative": -1, "fraction": 2.5, "NaN": math.nan, "infinite": math.inf},
    **{"whole float": 2.0, "None": None, "text": "3", "bool": True, "complex": 1j, "list": [2]},
    **{"object": Lazy(), "numpy": np.int64(1), "numpy float": np.float64(2), "bytes": b"1"},
    **{"one": 1, "array": np.array([2]), "no axis": np.array(2), "tensor": torch.tensor(2)},
}
WORDS = {
    **{"None": None, "empty": "", "unknown": "nonsense", "loud": "CODE", "null": "a\0b"},
    **{"number": 1, "fraction": 0.5, "NaN": math.nan, "bool": True, "bytes": b"code"},
    **{"list": ["code"], "array": np.array(["code"]), "object": Lazy(), "surrogate": "\ud800"},
}


def spoilt(name, key):
    """Ways to spoil an argument, by name: functions that make the spoilt value."""
    value = CALLS[name].arguments[key]
    if isinstance(value, np.ndarray | torch.Tensor):
        array, kept = np.asarray(value), ARRAYS
        if key == CALLS[name].steps:
            kept = {how: make for how, make in ARRAYS.items() if not re.search(LARGE, how)}
        return {how: (lambda make=make: make(array)) for how, make in kept.items()}
    kinds = {int: COUNTS, float: NUMBERS, str: WORDS}
    values = kinds.get(type(value), {})
    return {how: (lambda bad=bad: bad) for how, bad in values.items()}


def leaves(result):
    """Numbers in a result, as arrays."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [leaf for part in result for leaf in leaves(part)]
    if isinstance(result, torch.Tensor):
        result = result.to_dense().double().numpy()
    array = np.asarray(result)
    return [array] if array.dtype.kind in "biufc" else []


def bits(value):
    """What must not change of an argument."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        value = None if value.is_meta else torch.view_as_real(value.to_dense().cfloat()).numpy()
    if isinstance(value, np.ma.MaskedArray):
        return value.filled(0).tobytes(), value.mask.tobytes()
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


def names(message, arguments):
    """Whether a message names one of the arguments; a single letter must not be an English one."""
    return any(
        re.search(rf"\b{name}\b" if len(name) > 1 else rf"(^|and ){name}\b", message)
        for name in arguments
    )


def check(name, arguments, what):
    """What is wrong with how a call takes these arguments: lines of text, none if it is right."""
    call = CALLS[name]
    before = {key: bits(value) for key, value in arguments.items()}
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call.function(**arguments)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            line = linecache.getline(where.filename, where.lineno).strip()
            told = f"{type(error).__name__}: {error}"
            # What learning makes of good arguments may still overflow, as documented.
            if not isinstance(error, ValueError | TypeError | FloatingPointError):
                wrong.append(f"raises {told} ({where.filename}:{where.lineno} {line})")
            elif pathlib.Path(where.filename).parent != FOLDER or not line.startswith("raise"):
                wrong.append(f"is not refused by lib but {where.filename}, {line}: {told}")
            elif not names(str(error), call.arguments):
                wrong.append(f"is refused without naming an argument: {told}")
        else:
            finite = all(np.isfinite(leaf).all() for leaf in leaves(result))
            if not finite and not call.may_be_nan:
                wrong.append(f"gives {result}")
    wrong += [f"changes {key}" for key, value in arguments.items() if bits(value) != before[key]]
    return [f"{name} of {what} {text}" for text in wrong]


CASES = [(name, key) for name, call in CALLS.items() for key in call.arguments]
CASES = [(name, key) for name, key in CASES if spoilt(name, key)]


@pytest.mark.parametrize(("name", "key"), CASES, ids=lambda value: value)
def test_spoilt_arguments(name, key):
    call, wrong = CALLS[name], []
    for how, make in spoilt(name, key).items():
        with np.errstate(all="ignore"):
            value = make()
        wrong += check(name, call.arguments | {key: value}, f"{key} ({how})")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "key"), CASES, ids=lambda value: value)
def test_the_way_numbers_are_stored_does_not_matter(name, key):
    call = CALLS[name]
    value = call.arguments[key]
    if not isinstance(value, np.ndarray):
        return
    expected = leaves(call.function(**call.arguments))
    stored = {how: make(value) for how, make in LAYOUTS.items()}
    stored["read-only"] = value.copy()
    stored["read-only"].flags.writeable = False
    for how, same in stored.items():
        wrong = check(name, call.arguments | {key: same}, f"{key} ({how})")
        assert not wrong, wrong
        found = leaves(call.function(**call.arguments | {key: same}))
        for a, b in zip(expected, found, strict=True):
            # The order of sums may differ.
            rtol = 1e-4 if name.split(".")[0] in FLOAT32 or ".fit_" in name else 1e-9
            scale = np.abs(a).max(initial=0, where=np.isfinite(a))
            told = f"{name}: {key} {how}"
            np.testing.assert_allclose(b, a, rtol, atol=rtol / 100 * scale, err_msg=told)


@st.composite
def random_arrays(draw, base):
    """The array of a call with another size, scale, offset, dtype, or a few other values."""
    array = np.asarray(base).astype(float)
    for axis in range(array.ndim):
        if draw(st.integers(0, 4)) == 0:
            array = array.take(range(draw(st.integers(0, array.shape[axis]))), axis)
    scale = 10.0 ** draw(st.integers(-320, 307))
    array = array / max(np.abs(array).max(initial=0), 1) * scale
    if draw(st.booleans()):
        array = array + draw(st.floats(-1e308, 1e308))
        array = np.clip(array, -1e308, 1e308)
    for _ in range(draw(st.integers(0, 2))):
        if array.size:
            array.flat[draw(st.integers(0, array.size - 1))] = draw(st.floats(width=64))
    if draw(st.integers(0, 3)) == 0:
        with np.errstate(all="ignore"):
            array = array.astype(draw(st.sampled_from([np.float32, np.float16, ">f8"])))
    return array


def strategy(value):
    if isinstance(value, np.ndarray | torch.Tensor):
        return random_arrays(value)
    if isinstance(value, str):
        return st.text()
    if isinstance(value, int):
        return st.one_of(st.integers(-3, 12), st.floats())
    return st.one_of(st.floats(), st.floats(0, 10))


def is_drawn(name, key):
    return key != CALLS[name].steps and not CALLS[name].fixed


@pytest.mark.parametrize(("name", "key"), CASES, ids=lambda value: value)
def test_random_arguments(name, key):
    if not is_drawn(name, key):
        return

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(CALLS[name].arguments[key]))
    def spoil(value):
        wrong = check(name, CALLS[name].arguments | {key: value}, f"{key} = {value!r}")
        assert not wrong, wrong

    with np.errstate(all="ignore"):
        spoil()


def test_every_public_function_is_spoilt():
    """A new function needs an entry in `calls.CALLS`."""
    known = {name.split(" ")[0] for name in CALLS}
    without = {name for names in NO_ARGUMENTS.values() for name in names}
    assert public_functions() - known == without
    assert {name for name in known if name.count(".") == 1} <= public_functions()
    assert not known & without


def test_there_are_thousands_of_cases(record_property):
    listed = sum(len(spoilt(name, key)) for name, key in CASES)
    drawn = EXAMPLES * sum(is_drawn(name, key) for name, key in CASES)
    record_property("cases", listed + drawn)
    assert listed + drawn >= LEAST


FLAGS = [
    (name, flag.name)
    for name, call in CALLS.items()
    for flag in inspect.signature(call.function).parameters.values()
    if isinstance(flag.default, bool)
]


@pytest.mark.parametrize(("name", "flag"), FLAGS)
def test_a_flag_is_true_or_false(name, flag):
    call = CALLS[name]
    for wrong in ("no", 1, None, np.array([True, False]), []):
        with pytest.raises(ValueError, match=f"^{flag} must be True or False, got"):
            call.function(**call.arguments | {flag: wrong})
    call.function(**call.arguments | {flag: np.True_})
