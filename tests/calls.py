"""A small valid call of every public function of the numerical modules, to be spoilt by tests.

An argument of a call that is an array, an integer or a float is spoilt in turn; a function that
needs an object (a fitted estimator, a learned network) gets one that was made from good data.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from typing import NamedTuple

import numpy as np
import torch

import lib
from lib import (
    cca,
    code_statistics,
    codes,
    csc,
    datasets,
    dictlearn,
    effects,
    filters,
    lags,
    learning,
    ledger,
    loggabor,
    motion,
    orientation,
    processes,
    pruning,
    recordings,
    resu,
    scan,
    scenes,
)

# Modules whose functions draw, run chapters, measure time or train networks: what they are given
# comes from the modules above, and each has tests of its own.
ELSEWHERE = {
    *("benchmarks", "book", "cell_table", "cells", "chapters", "classify", "code_store", "peers"),
    *("learned", "plotting", "provenance", "training_speed"),
}
# Functions without an argument that can be spoilt, whose arguments are files and results, or that
# are checks themselves.
NO_ARGUMENTS = {
    *("csc.check_problem", "csc.check_tensor", "csc.check_coefficients", "csc.largest"),
    *(
        "datasets.source_table",
        "datasets.panoramas",
        "datasets.download",
        "datasets.fetch",
        "datasets.fingerprint",
    ),
    *("code_statistics.published_histograms", "csc.sparse_maps", "csc.rho_factor"),
    *("recordings.lamina_recordings", "scan.pareto_front", "scan.distance_to_front"),
    *("scan.as_arrays", "codes.check_protocol", "codes.activity", "codes.equal_quality"),
    *("ledger.load_claims", "ledger.save", "ledger.write_bytes", "ledger.judge"),
    *("ledger.load_results", "ledger.verdicts", "ledger.compare", "ledger.format_values"),
}


class Call(NamedTuple):
    """A function, a call of it, and which results may be NaN or infinite as documented.

    `steps` names an argument of which large values are long work, not wrong input.
    """

    function: object
    arguments: dict
    may_be_nan: str = ""
    steps: str = ""


RNG = np.random.default_rng(0)
SERIES = RNG.standard_normal(60).cumsum()
PAIR = RNG.standard_normal((60, 2)).cumsum(axis=0)
BLOCKS = lags.LagCovariance(3, 2).update(SERIES).blocks()._asdict()
IMAGES = RNG.random((2, 10, 9))
ATOMS = RNG.standard_normal((3, 4, 3))
MAPS = RNG.standard_normal((2, 3, 10, 9)) * (RNG.random((2, 3, 10, 9)) < 0.2)
WEIGHTS = np.exp(-np.arange(8) / 2) - 0.3
BINS = (np.arange(12) + 0.5) * np.pi / 12
PEAKS = 1 + np.exp(2 * np.cos(2 * BINS)) + 0.1 * np.sin(9 * BINS)
FALLING = np.exp(-3 * np.linspace(0.1, 1, 12)) * (1 + 0.1 * np.sin(np.arange(12.0)))
THETA, B_THETA = RNG.random(6) * np.pi, RNG.random(6) / 2
PLANT = {
    "A": np.array([[0.8, 0.1], [0.0, 0.5]]),
    "B": np.eye(2),
    "C": np.array([1.0, 0.5]),
    "noise_std": 0.1,
}
CODER = {"max_iter": 3, "tol": 1e-3}
KERNEL = {"tau": np.linspace(0, 3, 7), "length": 1.5}


def lag_covariance(x, memory, horizon, gap, channels):
    covariance = lags.LagCovariance(memory, horizon, gap, channels).update(x)
    return *covariance.blocks(True), *covariance.blocks(False), *covariance.means


def lag_stacks(arrays):
    # They are overwritten, as documented.
    arrays = arrays.copy() if isinstance(arrays, np.ndarray) else arrays
    return lags.LagCovariance(3, 2).update_stacks([arrays]).blocks()


def fitted(x, memory, horizon, rank, gap, ridge):
    model = cca.PastFutureCCA(memory, horizon, rank, gap, ridge).fit(x)
    return model.correlations_, model.filters_, model.future_filters_, model.mean_


def fitted_in_parts(x):
    model = cca.PastFutureCCA(3, 2).fit(SERIES).partial_fit(x)
    return model.correlations_, model.filters_, model.mean_


def fitted_blocks(past, cross, future):
    model = cca.PastFutureCCA(3, 2).fit_covariance(past, cross, future)
    return model.correlations_, model.filters_, model.future_filters_


def layer(x, memory, horizon, gap, ridge):
    model = resu.ReSULayer(memory, horizon, [resu.L3, resu.L1], gap, ridge).fit(x)
    return model.filters_, model.cca_.correlations_


def unit(x, memory, horizon, direction):
    model = resu.ReSU(memory, horizon, direction).fit(x)
    return model.filters_, model.cca_.correlations_


def network(x, noise_std):
    layers = [resu.ReSULayer(4, 4, [resu.L3, resu.L1]), resu.ReSULayer(1, 1, [resu.T4], 2)]
    model = resu.ReSUNetwork(layers, [(2, 1, 0)], noise_std=noise_std).fit(x)
    return *(one.filters_ for one in model.layers_), model.transform(SERIES)


def state_space(n_lags, n, rng, **plant):
    process = processes.LinearStateSpace(**plant)
    correlations = process.canonical_correlations()
    return process.autocovariance(n_lags), correlations, process.sample(n, rng)


def gp(n, dt, rng, size):
    return processes.sample_gp(processes.squared_exponential, n, dt, rng, size)


def measured(images, atoms, lmbda, **settings):
    return codes.measure(images, atoms, lmbda, store=None, **settings)


def first_code(images, atoms, lmbda, **settings):
    code = next(codes.iter_codes(images, atoms, lmbda, store=None, **settings))
    return code.coefficients.to_dense()


def recorded(value):
    claims = ledger.load_claims()
    name = next(key for key, claim in claims.items() if claim.rule is None)
    run = ledger.Run(claims[name].chapter, "default", {}, {}, None)
    ledger.record(name, value, run)
    return run.values[name]["value"]


def resampled(time_step):
    values = {name: SERIES for name in recordings.CELLS}
    table = recordings.LaminaRecordings(np.arange(60.0), SERIES, values, "")
    return recordings.resampled(table, time_step)[:2]


def matched(model, recorded):
    names = recordings.CELLS
    rows = recordings.match_cells(*(dict.fromkeys(names, x) for x in (model, recorded)))
    return list(rows.values())


def first_photograph(size, n):
    return next(datasets.iter_photographs("bundled", size, n))[1]


def scanned(images):
    chosen = scan.Setting(0.1, 2, 1.8, 4, 12)
    return [point[3:] for point in scan.scan(images, chosen, {"max_iter": [1]})]


MODEL = cca.PastFutureCCA(3, 2).fit(SERIES)
LAYER = resu.ReSULayer(4, 4, [resu.L3, resu.L1]).fit(SERIES)
NETWORK = resu.ReSUNetwork([LAYER, resu.ReSULayer(1, 1, [resu.T4], 2)], [(2, 1, 0)]).fit(SERIES)
TORCH = {name: torch.tensor(value) for name, value in (("images", IMAGES), ("atoms", ATOMS))}

CALLS = {
    "lags.LagCovariance": Call(
        lag_covariance, {"x": PAIR, "memory": 3, "horizon": 2, "gap": 1, "channels": 2}
    ),
    "lags.LagCovariance.update_stacks": Call(lag_stacks, {"arrays": RNG.random((3, 20, 1))}),
    "lags.lag_vectors": Call(lags.lag_vectors, {"x": SERIES, "memory": 3, "horizon": 2, "gap": 2}),
    "cca.PastFutureCCA": Call(
        fitted, {"x": SERIES, "memory": 3, "horizon": 2, "rank": 2, "gap": 1, "ridge": 0.1}
    ),
    "cca.PastFutureCCA.partial_fit": Call(fitted_in_parts, {"x": SERIES[:30]}),
    "cca.PastFutureCCA.fit_covariance": Call(fitted_blocks, BLOCKS),
    "cca.PastFutureCCA.transform": Call(lambda x: MODEL.transform(x), {"x": SERIES}),
    "cca.PastFutureCCA.information": Call(MODEL.information, {"rank": 1}),
    "cca.check_blocks": Call(cca.check_blocks, BLOCKS),
    "cca.hankel_filters": Call(cca.hankel_filters, BLOCKS | {"rank": 2}),
    "cca.min_projection_filters": Call(cca.min_projection_filters, BLOCKS | {"rank": 2}),
    "cca.projection_information": Call(
        cca.projection_information, BLOCKS | {"filters": np.eye(3)[:2]}
    ),
    "cca.gaussian_information": Call(cca.gaussian_information, BLOCKS),
    "processes.LinearStateSpace": Call(state_space, PLANT | {"n_lags": 4, "n": 5, "rng": 0}),
    "processes.rational_quadratic": Call(processes.rational_quadratic, KERNEL | {"alpha": 0.5}),
    "processes.squared_exponential": Call(processes.squared_exponential, KERNEL),
    "processes.exponential": Call(processes.exponential, KERNEL),
    "processes.oscillatory": Call(processes.oscillatory, KERNEL | {"period": 2.0, "width": 0.6}),
    "processes.sample_gp": Call(gp, {"n": 9, "dt": 0.2, "rng": 0, "size": 2}),
    "processes.lag_covariances": Call(
        processes.lag_covariances,
        {"autocovariance": 0.8 ** np.arange(6), "memory": 3, "horizon": 2, "gap": 1},
    ),
    "filters.cosine": Call(filters.cosine, {"a": WEIGHTS, "b": np.flip(WEIGHTS).copy()}),
    "filters.lobes": Call(filters.lobes, {"filters": WEIGHTS, "threshold": 0.05}),
    "filters.dc_gain": Call(filters.dc_gain, {"filters": WEIGHTS}),
    "filters.frequency_response": Call(filters.frequency_response, {"filters": WEIGHTS, "n": 16}),
    "filters.widths": Call(
        lambda weights: list(filters.widths(weights).values()), {"weights": WEIGHTS}
    ),
    "filters.fit_gaussian_derivative": Call(
        filters.fit_gaussian_derivative, {"weights": WEIGHTS - WEIGHTS.mean()}
    ),
    "filters.running_filters": Call(
        filters.running_filters,
        {"x": SERIES, "memory": 3, "horizon": 2, "step": 20, "window": 30, "rank": 1},
    ),
    "effects.paired_effect": Call(
        effects.paired_effect, {"a": SERIES[:9], "b": SERIES[9:18], "rng": 0, "n_boot": 20}
    ),
    "learning.cardinal_share": Call(
        learning.cardinal_share, {"theta": THETA, "weights": B_THETA, "within": 0.3}
    ),
    "learning.density": Call(
        learning.density,
        {
            "theta": THETA,
            "b_theta": B_THETA,
            "theta_grid": BINS,
            "b_grid": np.linspace(0, 0.5, 5),
            "widths": (0.1, 0.05),
        },
    ),
    "scenes.local_contrast": Call(
        scenes.local_contrast,
        {"luminance": IMAGES[0], "degrees_per_pixel": 2.0, "blur": 5.7, "surround": 20.0},
    ),
    "scenes.scan": Call(
        scenes.scan, {"contrast": IMAGES[0], "rows": 2, "noise_std": 0.1, "rng": 0}
    ),
    "scenes.dead_leaves": Call(
        scenes.dead_leaves,
        {"shape": (9, 8), "rng": 0, "min_radius": 2.0, "max_radius": 5.0, "exponent": 3.0},
    ),
    "orientation.gradients": Call(orientation.gradients, {"images": IMAGES}),
    "orientation.orientation_histogram": Call(
        lambda images, n_bins: (
            orientation.orientation_histogram(images, n_bins),
            orientation.orientation_histogram(images, n_bins, weighted=True),
        ),
        {"images": IMAGES, "n_bins": 6},
    ),
    "orientation.circular_variance": Call(
        orientation.circular_variance,
        {"histogram": PEAKS, "theta": BINS},
        "where nothing was counted",
    ),
    "orientation.grating": Call(
        orientation.grating, {"shape": (9, 8), "theta": 0.3, "frequency": 0.1, "phase": 0.2}
    ),
    "orientation.texture_power": Call(
        orientation.texture_power,
        {"shape": (9, 8), "theta": 0.3, "spread": 0.4, "frequency": 0.1, "octaves": 0.5},
    ),
    "orientation.sample_textures": Call(
        orientation.sample_textures, {"power": IMAGES[0], "n": 2, "rng": 0}
    ),
    "orientation.expected_histogram": Call(
        orientation.expected_histogram, {"power": IMAGES[0], "n_bins": 4}
    ),
    "orientation.bic": Call(
        orientation.bic, {"log_likelihood": -3.5, "n_observations": 9, "n_parameters": 2}
    ),
    "orientation.fit_curve": Call(
        lambda x, y, total: orientation.fit_curve("gamma", x, y, total),
        {"x": np.linspace(0.1, 1, 12), "y": FALLING, "total": 500},
        "standard errors that data do not determine",
    ),
    "orientation.fit_exponential": Call(
        orientation.fit_exponential,
        {"x": np.linspace(0.1, 1, 12), "y": FALLING},
        "standard errors that data do not determine",
    ),
    "orientation.fit_double_von_mises": Call(
        orientation.fit_double_von_mises,
        {"y": PEAKS, "x": BINS},
        "standard errors that data do not determine",
    ),
    "orientation.fit_spike_and_slab": Call(orientation.fit_spike_and_slab, {"coefficients": MAPS}),
    "loggabor.log_gabor": Call(
        loggabor.log_gabor,
        {"size": 8, "theta": 0.3, "b_theta": 0.2, "phase": 0.1, "f0": 0.4, "bandwidth": 0.4},
    ),
    "loggabor.heterogeneous_dictionary": Call(
        lambda: loggabor.heterogeneous_dictionary("text")._asdict(), {}
    ),
    "loggabor.homogeneous_dictionary": Call(
        lambda: loggabor.homogeneous_dictionary("text")._asdict(), {}
    ),
    "loggabor.random_dictionary": Call(
        lambda rng: loggabor.random_dictionary(rng).atoms, {"rng": 0}
    ),
    "loggabor.fit_log_gabor": Call(loggabor.fit_log_gabor, {"atoms": RNG.standard_normal((5, 5))}),
    "motion.moving_edge": Call(
        motion.moving_edge,
        {
            **{"speed": 10.0, "time_step": 0.1, "contrast": 1.0, "n_pixels": 3},
            **{"spacing": 5.0, "blur": 5.7, "background": 0.1, "rest": 0.5},
        },
    ),
    "motion.moving_grating": Call(
        motion.moving_grating,
        {
            **{"speed": 10.0, "time_step": 0.1, "wavelength": 30.0, "contrast": 1.0},
            **{"n_pixels": 3, "spacing": 5.0, "blur": 5.7, "background": 0.1, "rest": 0.5},
            "cycles": 2,
        },
    ),
    "motion.staircase": Call(
        motion.staircase, {"steps": 2, "samples": 5, "height": 1.0, "start": 1.5}
    ),
    "motion.sustained_index": Call(
        motion.sustained_index, {"response": SERIES, "onset": 5, "end": 20}
    ),
    "motion.direction_selectivity_index": Call(
        motion.direction_selectivity_index,
        {
            **{"preferred": IMAGES[0, 0], "null": IMAGES[1, 0] / 2, "n_resamples": 20},
            **{"confidence": 0.9, "rng": 0},
        },
    ),
    "motion.connectome_weights": Call(
        lambda reach: motion.connectome_weights(reach=reach)[:2], {"reach": 1}
    ),
    "motion.cosine_test": Call(
        motion.cosine_test,
        {"weights": WEIGHTS, "reference": WEIGHTS[::-1], "n_permutations": 30, "rng": 0},
    ),
    "resu.rectify": Call(lambda z: resu.rectify(z, "off"), {"z": SERIES}),
    "resu.noisy_rectification": Call(
        lambda z, noise_std: resu.noisy_rectification(z, "on", noise_std),
        {"z": SERIES, "noise_std": 0.1},
    ),
    "resu.ReSULayer": Call(layer, {"x": SERIES, "memory": 4, "horizon": 3, "gap": 1, "ridge": 0.1}),
    "resu.ReSULayer.project": Call(LAYER.project, {"x": SERIES}),
    "resu.ReSULayer.transform": Call(lambda x: LAYER.transform(x), {"x": SERIES}),
    "resu.ReSU": Call(unit, {"x": SERIES, "memory": 4, "horizon": 3, "direction": 2}),
    "resu.ReSUNetwork": Call(network, {"x": SERIES, "noise_std": 0.01}),
    "resu.ReSUNetwork.transform": Call(
        lambda x, rng: NETWORK.transform(x, rng), {"x": SERIES, "rng": 0}
    ),
    "resu.ReSUNetwork.inputs": Call(NETWORK.inputs, {"x": SERIES, "rng": 0}),
    "csc.sparse_code": Call(
        csc.sparse_code,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, **CODER, "rho": 5.0},
            **{"weights": np.array([1.0, 0.5, 2.0]), "relax": 1.8, "start": MAPS, "memory": 1e6},
        },
    ),
    "csc.sparse_code of tensors": Call(csc.sparse_code, {**TORCH, "lmbda": 0.1, **CODER}),
    "csc.reconstruct": Call(csc.reconstruct, {"coefficients": MAPS, "atoms": ATOMS}),
    "csc.psnr": Call(
        csc.psnr,
        {"images": IMAGES, "reconstructions": IMAGES[:, ::-1].copy()},
        "infinite for a perfect reconstruction",
    ),
    "csc.sparseness": Call(csc.sparseness, {"coefficients": MAPS}),
    "csc.prune": Call(csc.prune, {"coefficients": MAPS, "cutoff": 0.5}),
    "csc.check_device": Call(lambda device: str(csc.check_device(device)), {"device": "cpu"}),
    "dictlearn.learn_dictionary": Call(
        dictlearn.learn_dictionary,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "n_steps": 2, "rng": 0},
            **{"batch": 1, "eta_a": 10.0, "eta_b": 100.0, **CODER, "rho": 5.0, "relax": 1.8},
            **{"held_out": IMAGES[:1], "evaluate_every": 1, "checkpoint_every": 2},
        },
    ),
    "dictlearn.atom_gradient": Call(
        dictlearn.atom_gradient,
        {**TORCH, "coefficients": torch.tensor(MAPS)},
    ),
    "codes.contrast_normalise": Call(codes.contrast_normalise, {"images": IMAGES}),
    "codes.prepare": Call(lambda size, n: codes.prepare("bundled", size, n), {"size": 8, "n": 1}),
    "codes.iter_codes": Call(first_code, {"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, **CODER}),
    "codes.measure": Call(
        measured,
        {"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, **CODER},
        "PSNR infinite where an image is met exactly",
    ),
    "codes.convergence": Call(
        codes.convergence,
        {"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "at": np.array([1, 2]), "rho": 5.0},
        steps="at",
    ),
    "pruning.pruned_measures": Call(
        pruning.pruned_measures,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "cutoffs": np.array([0.01, 0.1])},
            **{"store": None, **CODER},
        },
        "PSNR infinite where an image is met exactly",
    ),
    "pruning.kept_psnr": Call(
        pruning.kept_psnr,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "counts": np.array([0.1, 0.2])},
            **{"store": None, **CODER},
        },
        "where a code has fewer coefficients",
    ),
    "code_statistics.count_codes": Call(
        code_statistics.count_codes,
        {
            **{"images": IMAGES, "atoms": ATOMS, "theta": THETA[:3], "n_theta": 4, "lmbda": 0.1},
            **{"edges": np.array([0.0, 0.1, 1.0]), "store": None, **CODER},
        },
        "means of no coefficients",
    ),
    "code_statistics.magnitude_counts": Call(
        code_statistics.magnitude_counts,
        {
            **{"magnitudes": IMAGES[0, 0], "group": np.arange(9) % 3, "n_groups": 3},
            "edges": np.array([0.0, 0.1, 1.0]),
        },
    ),
    "code_statistics.nearest_orientation": Call(
        code_statistics.nearest_orientation, {"theta": THETA, "n_theta": 4}
    ),
    "code_statistics.fit_models": Call(
        lambda x, histograms, totals: code_statistics.fit_models(
            ["exponential"], x, histograms, totals
        ).field("exponential", "rss"),
        {
            "x": np.linspace(0.1, 1, 12),
            "histograms": np.stack([FALLING, FALLING[::-1]]),
            "totals": np.array([100, 200]),
        },
        "images without a histogram",
    ),
    "code_statistics.recover_total": Call(
        code_statistics.recover_total, {"shares": np.array([0.25, 0.75]), "largest": 100}
    ),
    "code_statistics.circular_median": Call(code_statistics.circular_median, {"theta": THETA}),
    "code_statistics.orientation_distance": Call(
        code_statistics.orientation_distance, {"a": THETA, "b": THETA[::-1]}
    ),
    "code_statistics.median_interval": Call(
        code_statistics.median_interval, {"values": THETA, "rng": 0, "n_boot": 9}
    ),
    "datasets.photographs": Call(
        lambda size, n: datasets.photographs("bundled", size, n), {"size": 8, "n": 1}
    ),
    "datasets.iter_photographs": Call(first_photograph, {"size": 8, "n": 1}),
    "datasets.labelled_images": Call(
        lambda n: datasets.labelled_images("digits", "test", n)[:2], {"n": 3}
    ),
    "recordings.resampled": Call(resampled, {"time_step": 2.5}),
    "recordings.match_cells": Call(matched, {"model": SERIES, "recorded": -(SERIES**2)}),
    "scan.dictionary": Call(scan.dictionary, {"atom_size": 4, "n_atoms": 12}),
    "scan.scan": Call(scanned, {"images": IMAGES}, "PSNR infinite where an image is met exactly"),
    "ledger.record": Call(recorded, {"value": 0.5}),
}


def public_functions():
    """Names of all public functions, classes and methods that do work, of all public modules."""
    names = set()
    for module in pkgutil.iter_modules(lib.__path__):
        drawing = module.name.endswith("_figures")
        if module.name.startswith("_") or module.name in ELSEWHERE or drawing:
            continue
        found = importlib.import_module(f"lib.{module.name}")
        exported = getattr(found, "__all__", None)
        for name, value in vars(found).items():
            own = (
                name in exported if exported else getattr(value, "__module__", "") == found.__name__
            )
            if name.startswith("_") or not own or not callable(value):
                continue
            kind = value if inspect.isclass(value) else object
            record = hasattr(kind, "_fields") or dataclasses.is_dataclass(kind)
            if not record and not issubclass(kind, Exception | list):
                names.add(f"{module.name}.{name}")
    return names
