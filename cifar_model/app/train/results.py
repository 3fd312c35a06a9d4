"""What a run leaves: its model, its files, its commands and log."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.discreet import hide_paths
from cifar_model.app.shared.options import use_model
from cifar_model.app.shared.owner import is_owner
from cifar_model.models.folder import find_model, kept_epochs
from cifar_model.models.layout import HISTORY_FILE, MODEL_FILE
from cifar_model.runs.read import RunInfo, read_log
from cifar_model.runs.start import commands_to_go_on


def show_results(run: RunInfo) -> None:
    """What a run leaves: its model on the other pages, its files, the commands behind it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        epochs = kept_epochs(run.path)
        choices = [run.name, *(f"{run.name}@{number}" for number, _ in epochs)]
        titles = {run.name: "Best epoch"} | {f"{run.name}@{number}": f"Epoch {number}" for number, _ in epochs}
        chosen = st.selectbox(
            "Model", choices, format_func=titles.get, width=150, key=f"train_epoch_{run.name}",
            disabled=not run.has_model, help="The best epoch by validation accuracy, or any other that was kept.",
        )  # fmt: skip
        for page, label, icon in (
            ("classify", "Use on Classify", ":material/image_search:"),
            ("blend", "Use on Blend", ":material/gradient:"),
        ):
            if st.button(label, icon=icon, disabled=not run.has_model, key=f"train_use_{page}"):
                resources.look_again()  # the network may have been written this second
                use_model(chosen)
                st.switch_page(f"pages/{page}.py")
        st.space("stretch")
        file = find_model(chosen) if run.has_model else run.path
        file = file / MODEL_FILE if file.is_dir() else file
        for path, mime, ready in (
            (file, "application/octet-stream", run.has_model),
            (run.path / HISTORY_FILE, "text/csv", len(run.history) > 0),
        ):
            label = "model.keras" if path.suffix == ".keras" else path.name
            st.download_button(
                label, path.read_bytes, f"{chosen.replace('@', '-epoch-')}-{label}", mime, on_click="ignore",
                icon=":material/download:", disabled=not ready, key=f"train_download_{label}",
            )  # fmt: skip
    with st.expander("Commands and log", icon=":material/terminal:"):
        st.caption("The command of this run; it does the same in a terminal.")
        st.code(hide_paths(run.command) or f"python -m cifar_model train --run {run.name}", "shell", wrap_lines=True)
        if not is_owner():  # what follows is of use at the machine alone
            return
        st.caption("Follow or control the run from a terminal on this machine.")
        st.code(
            f"python -m cifar_model runs follow {run.name}\npython -m cifar_model runs stop {run.name}",
            "shell",
        )
        if run.state == "finished":
            st.caption("Train it further: with more epochs, or as a new run that starts from its weights.")
            st.code("\n".join(commands_to_go_on(run.name, run.settings)), "shell", wrap_lines=True)
        st.caption("More detail in TensorBoard, Keras's own dashboard.")
        st.code(f'tensorboard --logdir "{run.path / "tensorboard"}"', "shell", wrap_lines=True)
        if log := read_log(run.path):
            st.caption("The end of its log.")
            st.code(log, "text", wrap_lines=True)
