"""Residual networks on codes, and the settings with which Ladret et al. train them."""

from typing import NamedTuple

import torch

from lib._checks import check_choice, check_count

# Of networks and their training: raised when these change what comes out of the same settings.
VERSION = 2


class Recipe(NamedTuple):
    """How a network is trained; "text" is the paper's account, "code" what was released."""

    batch: int
    rate: float
    betas: tuple[float, float]
    weight_decay: float
    one_cycle: bool
    flip: bool


# The text gives no batch size: the released code's.
RECIPES = {
    "text": Recipe(800, 2e-4, (0.9, 0.99), 0.0, one_cycle=False, flip=False),
    "code": Recipe(800, 2e-4, (0.9, 0.999), 0.05, one_cycle=True, flip=True),
}


def resnet18(in_channels, n_classes, protocol="code", seed=42):
    """ResNet-18 on inputs of any number of channels, not trained.

    Parameters
    ----------
    in_channels : int
        Channels of the input: atoms of the dictionary, or 1 for grey pixels.
    n_classes : int
        At least 2.
    protocol : {"code", "text"}
        ``"text"``: torchvision's, the first convolution changed. ``"code"``: 3 × 3 first
        convolution of stride 1; after its batch normalisation and rectification, 2-D dropout of
        0.5 in place of max-pooling; initial weights as PyTorch draws them for a convolution,
        whose standard deviation is a half to a quarter of torchvision's.
    seed : int
        Of the initial weights; torch's global generator is left as it was.

    Returns
    -------
    torch.nn.Module
    """
    from torch import nn
    from torchvision.models import resnet18 as published

    in_channels = check_count("in_channels", in_channels)
    n_classes = check_count("n_classes", n_classes, 2)
    check_choice("protocol", protocol, RECIPES)
    seed = check_count("seed", seed, 0)
    if seed >= 2**63:
        raise ValueError(f"seed must be below 2**63, got {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = published(num_classes=n_classes)
        small = protocol == "code"
        size, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        first = nn.Conv2d(in_channels, 64, size, stride, padding, bias=False)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        model.conv1 = first
        if small:
            model.maxpool = nn.Dropout2d(0.5)
            for module in model.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()
    return model
