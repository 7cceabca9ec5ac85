"""The makes of devices that can be simulated: an explicit table, each file loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from firmware_sim.device import Model

MODELS: dict[str, tuple[str, str]] = {
    "eastron-sdm630": ("firmware_sim.devices.eastron:SDM630", "three-phase meter, F32, functions 3 and 4"),
}
"""slug -> (import string, what it is)."""


def load_model(slug: str) -> Model:
    """Raises KeyError for a slug that is not in MODELS."""
    module, _, name = MODELS[slug][0].partition(":")
    model = getattr(import_module(module), name)
    assert isinstance(model, Model)
    return model
