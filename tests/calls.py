"""A small valid call of every public function of the numerical modules, to be spoilt by tests.

An argument of a call that is an array, a number or a word is spoilt in turn; a function that
needs an object (a fitted estimator, a learned network) gets one that was made from good data.
"""

import dataclasses
import importlib
import inspect
import io
import pkgutil
import tempfile
from collections import OrderedDict
from contextlib import contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import lib
from lib import (
    _training,
    benchmarks,
    book,
    cca,
    cell_table,
    cells,
    chapters,
    classify,
    code_statistics,
    code_store,
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
    peers,
    processes,
    pruning,
    readout,
    recordings,
    resu,
    scan,
    scenes,
    training_speed,
    whitening,
)

# Modules without a function that takes numbers or arrays of a user, and why there is none.
ELSEWHERE = {
    "plotting": "draws results",
    "learned": "reads files that this project wrote",
    "provenance": "describes code and machine",
    "pages": "makes pages of saved results",
    "printing": "prints a rendered book",
    "site": "called by Sphinx",
}
# Functions of the other modules without such an argument, and why.
NO_ARGUMENTS = {
    "is a check or a step of others": (
        *("codes.check_protocol", "scan.as_arrays", "scan.from_arrays"),
        *("codes.activity", "codes.equal_quality", "scan.pareto_front", "scan.distance_to_front"),
    ),
    "takes names of files or data sets": (
        *("datasets.source_table", "datasets.panoramas", "datasets.download", "datasets.fetch"),
        *("datasets.fingerprint", "recordings.lamina_recordings", "ledger.load_claims"),
        *("ledger.load_results", "ledger.verdicts", "ledger.compare"),
        *("code_statistics.published_histograms", "training_speed.write_released"),
    ),
    "takes results": (
        *("ledger.save", "ledger.judge", "cell_table.accuracies", "cell_table.losses"),
        *("cell_table.by_condition", "cell_table.lines", "cell_table.scale_claims"),
        "cell_table.frame_claims",
        *("scan.changes", "scan.is_trade", "scan.shared_setting"),
    ),
    "takes a function": ("benchmarks.peak_bytes",),
    "starts a process": ("benchmarks.peak_memory", "benchmarks.own_peak_memory"),
    "reads or runs chapters": (
        *("chapters.chapters", "chapters.read", "chapters.parameters", "chapters.preset_values"),
        *("chapters.preset_name", "chapters.script", "chapters.for_colab", "execution.rerun"),
        *("execution.execute", "execution.refresh", "chapters.dependencies"),
        *("chapters.options", "chapters.option", "chapters.stored_only"),
        *("execution.write_notebook", "book.own_parameters"),
    ),
}


class Call(NamedTuple):
    """A function, a call of it, and which results may be NaN or infinite as documented.

    `steps` names an argument of which large values are long work, not wrong input. `fixed` says
    why a call that takes long is not repeated with random arguments.
    """

    function: object
    arguments: dict
    may_be_nan: str = ""
    steps: str = ""
    fixed: str = ""


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
CPU = {"device": "cpu"}
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


def first_photograph(**arguments):
    return next(datasets.iter_photographs(**arguments))[1]


def scanned(lmbda, **arguments):
    chosen = scan.Setting(lmbda, 2, 1.8, 3, 3)
    with tempfile.TemporaryDirectory() as folder:
        learner = scan.Scan(folder=folder, n_steps=1, **arguments)
        return [point[3:5] for point in learner.points(chosen, {"max_iter": [1]})]


def small_network(in_channels, n_classes, protocol, seed):
    """Stands in for ResNet-18, whose million weights take a second to draw and to train."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = {
            "conv1": torch.nn.Conv2d(in_channels, 2, 1, bias=False),
            "pool": torch.nn.AdaptiveAvgPool2d(1),
            "flat": torch.nn.Flatten(),
            "last": torch.nn.Linear(2, n_classes),
        }
    return torch.nn.Sequential(OrderedDict(layers))


@contextmanager
def small_networks():
    published, _training.resnet18 = _training.resnet18, small_network
    try:
        yield
    finally:
        _training.resnet18 = published


def trained(**arguments):
    with small_networks():
        training = classify.train(**arguments)
    return training.history, training.predictions


def trained_on_codes(**arguments):
    arguments |= {"x": CODES, "test_x": CODES, "labels": LABELS, "test_labels": LABELS}
    return trained(n_classes=3, **arguments)


def first_weights(in_channels, n_classes, protocol, seed):
    return classify.resnet18(in_channels, n_classes, protocol, seed).conv1.weight.detach()


def encoded(images, atoms, **settings):
    with tempfile.TemporaryDirectory() as folder:
        codes_of_images = classify.encode(images, atoms, store=folder, **settings).load()
    return codes_of_images.dense(range(len(codes_of_images)))


def stored(codes, n, maps, chunk):
    with tempfile.TemporaryDirectory() as folder:
        store = code_store.CodeStore(folder, {}, n, maps, chunk)
        # torch takes no slices of sparse tensors.
        dense = isinstance(codes, np.ndarray | torch.Tensor) and not getattr(codes, "is_sparse", 0)
        store.fill(lambda rows: codes[rows] if dense and codes.ndim else codes)
        return store.load().dense(range(n))


def dense_codes(starts, positions, values, maps, rows, device):
    return code_store.SparseCodes(starts, positions, values, maps).dense(rows, device)


def cell(cutoff, seed, protocol, scheme, factor, mean, **settings):
    with tempfile.TemporaryDirectory() as folder, small_networks():
        experiment = cells.Experiment(FEW, FEW, {"few": ATOMS}, Path(folder), **settings)
        result = experiment.run(cells.Cell(protocol, scheme, cutoff, seed, factor, mean))
    return result["history"], result["kept"], result["predictions"]


def speeds(**settings):
    with tempfile.TemporaryDirectory() as folder, small_networks():
        training_speed.write_released(CODES, folder)
        return list(training_speed.images_per_second(CODES, folder, **settings))


def some_chapter(seed, noise_variance):
    values = chapters.parameters("01_ou") | {"seed": seed, "noise_variance": noise_variance}
    with redirect_stdout(io.StringIO()):
        run = book.begin("01_ou", **values)
    return run.parameters, run.rng.random(2)


def chapter_values(seed, noise_variance):
    return chapters.check_parameters("01_ou", {"seed": seed, "noise_variance": noise_variance})


def parsed(seed, noise_variance):
    return chapters.parse_parameters("01_ou", {"seed": seed, "noise_variance": noise_variance})


def coder(function):
    """The third iteration of a coder."""

    def maps(image, atoms, lmbda, rho):
        found = next(islice(function(image, atoms, lmbda, rho), 2, None))()
        return torch.as_tensor(found).clone()

    return maps


def learner(**arguments):
    return next(peers.sporco_learner(**arguments))


def names_of(function):
    """A function that measures time: which times there are does not depend on the machine."""

    def measured_names(**arguments):
        found = function(**arguments)
        return [list(times) for times in (found if isinstance(found, tuple) else (found,))]

    return measured_names


def threads(n):
    # As many as there are already, or refused.
    benchmarks.use_threads(n if n != 1 else torch.get_num_threads())


def traced(name, n_iter, every):
    return benchmarks.trace(name, PROBLEM, n_iter, every)[[0, 2]]


MODEL = cca.PastFutureCCA(3, 2).fit(SERIES)
LAYER = resu.ReSULayer(4, 4, [resu.L3, resu.L1]).fit(SERIES)
NETWORK = resu.ReSUNetwork([LAYER, resu.ReSULayer(1, 1, [resu.T4], 2)], [(2, 1, 0)]).fit(SERIES)
DENSE = RNG.standard_normal((4, 2, 8, 8)) * (RNG.random((4, 2, 8, 8)) < 0.3)
LABELS = np.array([0, 2, 1, 2])
with tempfile.TemporaryDirectory() as FOLDER:
    STORE = code_store.CodeStore(FOLDER, {}, 4, (2, 8, 8), 3)
    STORE.fill(lambda rows: torch.tensor(DENSE[rows]))
    CODES = STORE.load()
FEW = datasets.LabelledImages(RNG.random((4, 8, 8)).astype(np.float32), LABELS, ("a", "b", "c"))
TRAINING = {"protocol": "code", "epochs": 2, "seed": 1, "batch": 2, "precision": "float32"}
SETTINGS = {"max_iter": 3, "tol": 0.1}
PROBLEM = benchmarks.Problem(*(x.astype(np.float32) for x in (IMAGES[0], ATOMS)), 0.1)
CODING = {"image": PROBLEM.image, "atoms": PROBLEM.atoms, "lmbda": 0.1, "rho": 5.0}
RESULT = {"truth": [0, 2, 1], "predictions": [0, 1, 1]}
SCANS = {"scans": RNG.standard_normal((3, 40)).cumsum(axis=1), "shifts": np.array([2, 1, 0])}
SCANS |= {"gap": 2, "memory": 4, "rng": 0, "noise_std": 0.1}
SERIES_PAIR = {"x": SERIES, "memory": 3, "horizon": 2}
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
        orientation.fit_curve,
        {"model": "gamma", "x": np.linspace(0.1, 1, 12), "y": FALLING, "total": 500},
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
        lambda protocol: loggabor.heterogeneous_dictionary(protocol)._asdict(),
        {"protocol": "text"},
    ),
    "loggabor.homogeneous_dictionary": Call(
        lambda protocol: loggabor.homogeneous_dictionary(protocol)._asdict(),
        {"protocol": "text"},
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
    "resu.rectify": Call(resu.rectify, {"z": SERIES, "rectification": "off"}),
    "resu.noisy_rectification": Call(
        resu.noisy_rectification, {"z": SERIES, "rectification": "on", "noise_std": 0.1}
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
            **{"solver": "tiled", "device": "cpu"},
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
    "dictlearn.learn_dictionary": Call(
        dictlearn.learn_dictionary,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "n_steps": 2, "rng": 0},
            **{"batch": 1, "eta_a": 10.0, "eta_b": 100.0, **CODER, "rho": 5.0, "relax": 1.8},
            **{"held_out": IMAGES[:1], "evaluate_every": 1, "checkpoint_every": 2, **CPU},
        },
    ),
    "dictlearn.atom_gradient": Call(
        dictlearn.atom_gradient,
        {**TORCH, "coefficients": torch.tensor(MAPS)},
    ),
    "codes.contrast_normalise": Call(codes.contrast_normalise, {"images": IMAGES}),
    "codes.prepare": Call(
        codes.prepare, {"source": "bundled", "size": 8, "n": 1, "protocol": "code"}
    ),
    "codes.iter_codes": Call(
        first_code,
        {"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "precision": "float64", **CPU, **CODER},
    ),
    "codes.measure": Call(
        measured,
        {"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "precision": "float32", **CPU, **CODER},
        "PSNR infinite where an image is met exactly",
    ),
    "codes.convergence": Call(
        codes.convergence,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "at": np.array([1, 2])},
            **{"rho": 5.0, "precision": "float32", "device": "cpu"},
        },
        steps="at",
    ),
    "pruning.pruned_measures": Call(
        pruning.pruned_measures,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "cutoffs": np.array([0.01, 0.1])},
            **{"store": None, **CPU, **CODER},
        },
        "PSNR infinite where an image is met exactly",
    ),
    "pruning.kept_psnr": Call(
        pruning.kept_psnr,
        {
            **{"images": IMAGES, "atoms": ATOMS, "lmbda": 0.1, "counts": np.array([0.1, 0.2])},
            **{"store": None, **CPU, **CODER},
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
        datasets.photographs, {"source": "bundled", "size": 8, "n": 1, "fit": "crop"}
    ),
    "datasets.iter_photographs": Call(
        first_photograph, {"source": "bundled", "size": 8, "n": 1, "fit": "crop"}
    ),
    "datasets.labelled_images": Call(
        lambda **arguments: datasets.labelled_images(**arguments)[:2],
        {"source": "digits", "split": "test", "n": 3},
    ),
    "recordings.resampled": Call(resampled, {"time_step": 2.5}),
    "recordings.match_cells": Call(matched, {"model": SERIES, "recorded": -(SERIES**2)}),
    "whitening.whiten": Call(whitening.whiten, {"images": IMAGES}),
    "whitening.spectrum": Call(whitening.spectrum, {"images": IMAGES}),
    "whitening.disc": Call(whitening.disc, {"size": 5}),
    "whitening.prepare": Call(whitening.prepare, {"source": "bundled", "size": 8, "n": 1}),
    "whitening.share_explained": Call(
        whitening.share_explained,
        {
            **{"plain": SERIES[:9], "whitened": SERIES[9:18], "other": SERIES[18:27]},
            **{"rng": 0, "n_boot": 9},
        },
    ),
    "scan.Scan.points": Call(
        scanned,
        {
            "training": IMAGES,
            "held_out": IMAGES,
            "lmbda": 0.1,
            "rho": 1.0,
            "tol": 0.1,
            "seed": 0,
            **CPU,
        },
        "PSNR infinite where an image is met exactly",
    ),
    "ledger.record": Call(recorded, {"value": 0.5}),
    "classify.prepare": Call(classify.prepare, {"images": IMAGES, "protocol": "code", "size": 8}),
    "classify.grey_inputs": Call(
        classify.grey_inputs, {"images": IMAGES, "protocol": "code", "size": 8}
    ),
    "classify.encode": Call(
        encoded,
        {
            **{"images": IMAGES, "atoms": ATOMS, "protocol": "code", "size": 8, "chunk": 1},
            **{"device": "cpu", "lmbda": 0.1, **SETTINGS},
        },
    ),
    "classify.inputs": Call(
        classify.inputs,
        {"batch": DENSE, "protocol": "code", "cutoff": 0.25, "size": 4, "mean": 0.1},
    ),
    "classify.inputs of the text": Call(
        classify.inputs, {"batch": torch.tensor(DENSE), "protocol": "text", "cutoff": 0.25}
    ),
    "classify.kept_values": Call(
        lambda **settings: classify.kept_values(CODES, **settings),
        {"protocol": "code", "cutoff": 0.25, "size": 4, "n": 3, "mean": 0.1},
    ),
    "classify.pruned_share": Call(
        lambda **settings: classify.pruned_share(CODES, **settings),
        {"protocol": "code", "cutoff": 0.25, "size": 4, "n": 3, "mean": 0.1},
    ),
    "classify.resnet18": Call(
        first_weights,
        {"in_channels": 2, "n_classes": 3, "protocol": "code", "seed": 0},
        fixed="draws eleven million weights",
    ),
    "classify.train": Call(
        trained,
        {
            **{"x": torch.tensor(DENSE), "labels": LABELS, "test_x": torch.tensor(DENSE[:3])},
            **{"test_labels": LABELS[:3], "n_classes": 3, "device": "cpu", "rate": 1e-3},
            **{"weight_decay": 0.05, **TRAINING},
        },
    ),
    "classify.train on codes": Call(
        trained_on_codes,
        {"cutoff": 0.25, "size": 4, "mean": 0.1, "memory": 1e6, **CPU, **TRAINING},
    ),
    "classify.evaluate": Call(
        lambda **arguments: classify.evaluate(
            small_network(2, 3, "code", 0), **arguments
        )._asdict(),
        {
            **{"x": torch.tensor(DENSE), "labels": LABELS, "n_classes": 3, "batch": 3},
            "precision": "float32",
        },
    ),
    "code_store.CodeStore": Call(
        stored, {"codes": DENSE, "n": 4, "maps": np.array([2, 8, 8]), "chunk": 3}
    ),
    "code_store.SparseCodes": Call(
        dense_codes,
        {
            **{"starts": CODES.starts, "positions": CODES.positions, "values": CODES.values},
            **{"maps": np.array([2, 8, 8]), "rows": np.array([3, 0]), **CPU},
        },
    ),
    "code_store.SparseCodes.on": Call(lambda device: CODES.on(device).dense([0, 3]), CPU),
    "code_store.SparseCodes.scaled": Call(
        lambda factor: CODES.scaled(factor).dense([0, 3]), {"factor": 1.5}
    ),
    "readout.pooled": Call(
        lambda n_cells, cutoff: readout.pooled(CODES, n_cells, cutoff),
        {"n_cells": 3, "cutoff": 0.25},
    ),
    "readout.position_share": Call(
        lambda x: readout.position_share(x, small_network(2, 3, "code", 0)),
        {"x": torch.tensor(DENSE)},
    ),
    "readout.linear_readout": Call(
        readout.linear_readout,
        {"train": IMAGES[0], "labels": np.arange(10) % 2, "test": IMAGES[1]},
    ),
    "datasets.first_images": Call(
        lambda share: (
            datasets.first_images(
                datasets.LabelledImages(np.zeros((5, 2, 2)), np.arange(5), tuple("01234")), share
            ).images
        ),
        {"share": 0.5},
    ),
    "classify.pruning_changes": Call(
        lambda **settings: classify.pruning_changes(CODES, **settings),
        {"protocol": "code", "cutoff": 0.25, "size": 4, "mean": 0.1},
    ),
    "cells.grid": Call(
        lambda cutoffs, seeds: cells.grid(["code"], ["few", "grey"], cutoffs, seeds),
        {"cutoffs": np.array([0.0, 0.25]), "seeds": np.array([1, 2])},
    ),
    "cells.Experiment.run": Call(
        cell,
        {
            **{"cutoff": 0.25, "seed": 1, "protocol": "code", "scheme": "few", "size": 8},
            **{"factor": 1.5, "mean": 0.1, "input_size": 4, "epochs": 1, "batch": 2},
            **{"precision": "float32", "device": "cpu", "chunk": 3},
        },
    ),
    "cell_table.table_claims": Call(
        lambda test_size: list(
            cell_table.table_claims(
                {("grey", 0.0): cell_table.Accuracy(50.0, 49.0, 48.0, 50.0, (49.0,))},
                {},
                test_size,
            ).values()
        ),
        {"test_size": 10},
    ),
    **{
        f"cell_table.{claims.__name__}": Call(
            lambda test_labels, claims=claims: claims(
                dict.fromkeys(
                    (("hom_after", 0.0), ("het_after", 0.0)),
                    cell_table.Accuracy(50.0, 49.0, 48.0, 50.0, (49.0,)),
                ),
                test_labels,
            ),
            {"test_labels": np.array([0, 1, 1, 2])},
        )
        for claims in (cell_table.text_claims, cell_table.longer_claims)
    },
    "cell_table.confusion": Call(
        lambda n_classes: cell_table.confusion([RESULT], n_classes), {"n_classes": 3}
    ),
    "training_speed.images_per_second": Call(
        speeds,
        {
            "batch": 2,
            "n_batches": 1,
            "n_rounds": 1,
            "size": 4,
            "device": "cpu",
            "precision": "float32",
        },
    ),
    "chapters.check_parameters": Call(chapter_values, {"seed": 1, "noise_variance": 0.1}),
    "chapters.parse_parameters": Call(parsed, {"seed": "1", "noise_variance": "0.1"}),
    "book.begin": Call(some_chapter, {"seed": 1, "noise_variance": 0.1}, fixed="asks git"),
    "benchmarks.best_time": Call(
        lambda repeats: benchmarks.best_time(dict, repeats) * 0, {"repeats": 2}
    ),
    "benchmarks.use_threads": Call(threads, {"n": 1}, fixed="of the whole process"),
    "benchmarks.coding_problem": Call(
        benchmarks.coding_problem, {"size": 12, "lmbda": 0.1}, fixed="reads a photograph"
    ),
    "benchmarks.code": Call(
        lambda name, n_iter: benchmarks.code(name, PROBLEM, n_iter),
        {"name": "lib.csc", "n_iter": 2},
    ),
    "benchmarks.seconds_per_iteration": Call(
        names_of(
            lambda n_iter, repeats, names: benchmarks.seconds_per_iteration(
                PROBLEM, n_iter, repeats, [names]
            )
        ),
        {"n_iter": 2, "repeats": 1, "names": "lib.csc"},
    ),
    "benchmarks.trace": Call(traced, {"name": "lib.csc", "n_iter": 4, "every": 2}),
    "benchmarks.learning_seconds": Call(
        names_of(lambda max_iter, n_steps: benchmarks.learning_seconds(PROBLEM, max_iter, n_steps)),
        {"max_iter": 2, "n_steps": 1},
    ),
    "benchmarks.objective": Call(
        lambda image, atoms, lmbda, maps: benchmarks.objective(
            benchmarks.Problem(image, atoms, lmbda), maps
        ),
        {**PROBLEM._asdict(), "maps": MAPS[0]},
    ),
    "benchmarks.seconds_to": Call(
        benchmarks.seconds_to,
        {"traced": np.array([[1.0, 2, 3], [0.1, 0.2, 0.3], [9, 4, 3]]), "target": 5.0},
        "where the objective does not come below the target",
    ),
    "benchmarks.floors": Call(
        names_of(lambda repeats: benchmarks.floors(PROBLEM, repeats)), {"repeats": 1}
    ),
    "benchmarks.lag_seconds": Call(
        names_of(benchmarks.lag_seconds),
        {"n_samples": 60, "memory": 3, "rng": 0, "repeats": 1},
        fixed="fits four estimators",
    ),
    "benchmarks.network_seconds": Call(
        names_of(benchmarks.network_seconds),
        {"n_scans": 2, "n_samples": 160, "rng": 0, "repeats": 1},
        fixed="fits three networks",
    ),
    "benchmarks.gpu_throughput": Call(
        lambda **sizes: sorted(benchmarks.gpu_throughput(**sizes) or ()),
        {"n_images": 2, "size": 12, "n_iter": 1},
        fixed="reads a photograph",
    ),
    "peers.sporco_coder": Call(coder(peers.sporco_coder), CODING),
    "peers.torch_coder": Call(coder(peers.torch_coder), CODING),
    "peers.our_coder": Call(coder(peers.our_coder), CODING),
    "peers.sporco_learner": Call(learner, CODING | {"max_iter": 2}),
    "peers.hankel_product": Call(peers.hankel_product, SERIES_PAIR),
    "peers.tuned_hankel_product": Call(peers.tuned_hankel_product, SERIES_PAIR),
    "peers.hankel_network": Call(peers.hankel_network, SCANS),
    "peers.tuned_hankel_network": Call(peers.tuned_hankel_network, SCANS),
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
