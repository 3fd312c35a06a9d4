"""Charts drawn."""

import tempfile
from pathlib import Path

import numpy as np


def draw_sweep(suffix: str, probabilities: np.ndarray, names: tuple[str, str], ratio: float, title: str) -> bytes:
    """The chart of a sweep (`beliefs.sweep_chart`) as the bytes of a .png or .svg file."""
    from cifar_model.charts.beliefs import sweep_chart  # brings Altair
    from cifar_model.charts.save import save_chart  # brings Altair

    chart = sweep_chart(probabilities, names=names, ratio=ratio, title=title)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"chart{suffix}"
        save_chart(chart, file)
        return file.read_bytes()


def chart(kind: str, *arguments) -> dict:
    """A chart by its kind, as a Vega-Lite specification, which a page shows without Altair.

    kind: "reliability", "scope", "curve" or "setting". The chart takes the place's width.
    """
    import altair as alt  # slow to import

    from cifar_model.charts.learning import curve_chart  # brings Altair
    from cifar_model.charts.scores import (
        reliability_chart,  # brings Altair
        scope_chart,  # brings Altair
    )
    from cifar_model.charts.sweeps import setting_chart  # brings Altair

    charts = {
        "reliability": reliability_chart,
        "scope": scope_chart,
        "curve": curve_chart,
        "setting": setting_chart,
    }
    with alt.data_transformers.enable("default", consolidate_datasets=False):
        spec = charts[kind](*arguments).to_dict()
    spec.pop("width", None)
    return spec
