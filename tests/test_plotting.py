import re

import matplotlib.pyplot as plt
import numpy as np

from lib import plotting, theory_figures


def test_information_axis_says_what_correlations_carry():
    _, ax = plt.subplots()
    plotting.plot_spectrum(ax, np.array([0.9, 0.5, 0.0]))
    right = plotting.add_information_axis(ax)
    for position, label in zip(right.get_yticks(), right.get_yticklabels(), strict=True):
        assert np.isclose(-0.5 * np.log(1 - position**2), float(label.get_text()), atol=1e-12)
    assert right.get_ylim() == ax.get_ylim()
    assert len(right.get_yticks()) >= 4


def test_animation_needs_no_network_and_moves():
    figure, ax = plt.subplots(figsize=(3, 2))
    (line,) = ax.plot([0, 1], [0, 0])
    page = plotting.animate(figure, lambda i: line.set_ydata([0, i]), 4).data
    assert "http" not in page
    assert "font-awesome" not in page
    assert "<i " not in page
    frames = re.findall(r'frames\[\d+\] = "(data:image/png;base64[^"]+)', page)
    assert len(set(frames)) == 4
    assert 'type="range"' in page


def test_figures_draw_what_they_are_given():
    rng = np.random.default_rng(0)
    kept = {"best": np.array([1.0, 2.0]), "other": np.array([0.5, 2.0])}
    theory_figures.information_by_rank(np.array([1, 2]), kept, rng.random((2, 5)), 2.0)
    left, right = plt.gcf().axes
    np.testing.assert_allclose(right.lines[0].get_ydata(), [50, 1e-8])
    assert [line.get_label() for line in left.lines if not line.get_label().startswith("_")] == [
        "best",
        "other",
    ]
