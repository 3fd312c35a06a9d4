"""A chart as a file, on white."""

import html
import os
from pathlib import Path

import altair as alt

from cifar_model.errors import SettingsError
from cifar_model.storage import check_folder, replacing

CHART_SUFFIXES = (".png", ".svg", ".html")


def save_chart(chart: alt.TopLevelMixin, path: str | os.PathLike, *, scale: float = 2.0) -> None:
    """Save a chart on white as .png, .svg or a self-contained .html page that needs no network.

    scale: pixels of the PNG for one of the chart's. Raises SettingsError for another suffix, LabError when
    the file can't be written.
    """
    check_chart_path(path)
    path = Path(path)
    chart = chart.properties(background="white", padding=12)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".html":
            # Of the menu only "save as" stays: the editor it offers is a web page.
            actions = {"export": True, "source": False, "compiled": False, "editor": False}
            page = chart.to_html(inline=True, embed_options={"actions": actions})
            title = html.escape(str(chart.description))
            page = page.replace("<html>", '<html lang="en">', 1)
            page = page.replace("<head>", f"<head>\n  <title>{title}</title>", 1)
            temporary.write_text(page, encoding="utf-8")
        else:
            chart.save(temporary, format=path.suffix.lower()[1:], scale_factor=scale)


def check_chart_path(path: str | os.PathLike) -> None:
    """Raise SettingsError unless `path` ends in .png, .svg or .html, LabError without its folder; ask early."""
    if Path(path).suffix.lower() not in CHART_SUFFIXES:
        raise SettingsError(f"A chart is saved as {', '.join(CHART_SUFFIXES)}. Received: {path}.")
    check_folder(path)
