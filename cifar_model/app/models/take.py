"""Take it along: a model for other programs."""

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.page import show_error
from cifar_model.errors import LabError
from cifar_model.models.exporting.formats import FORMATS
from cifar_model.text import escape_markdown
from cifar_model.trust.report import Report

WANTED = "models_taken"  # session key: (model, format, calibrated) that a visitor asked for


@st.fragment
def show_take(report: Report) -> None:
    st.caption(
        "The network for other programs: a zip file with the network, the ten class names and five lines of Python "
        "that use it. It takes raw pixels, 0 to 255. The file is read back, compared with the model on 1,000 images, "
        "and offered only if no probability differs by more than 0.00001."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        to = st.selectbox(
            "Format", list(FORMATS), key="models_take_format", width=260, format_func=lambda key: FORMATS[key].title
        )
        calibrated = st.checkbox(
            "Calibrated", key="models_take_calibrated", disabled=not report.calibration,
            help="Builds the calibration into the network."
            if report.calibration else "This model has no calibration.",
        )  # fmt: skip
        calibrated = calibrated and bool(report.calibration)
        wanted = (report.path, to, calibrated)
        if st.button("Prepare", icon=":material/output:"):
            st.session_state[WANTED] = wanted
    st.caption(f"{FORMATS[to].title}: " + "; ".join(f"{file} {use}" for file, use in FORMATS[to].files.items()) + ".")
    if st.session_state.get(WANTED) == wanted:
        _offer(report, to, calibrated)


def _offer(report: Report, to: str, calibrated: bool) -> None:
    job = resources.taken(report.path, report.name, to, calibrated)
    if not job.done():
        st.info("Writing and comparing. This takes up to a minute.", icon=":material/hourglass_top:")
        st.fragment(_watch, run_every=1.0)(job)
        return
    try:
        packed, check = job.result()
    except LabError as error:
        resources.forget_taken(report.path, report.name, to, calibrated)
        st.session_state.pop(WANTED, None)
        show_error(error)
        return
    name = report.name.replace("@", "-")
    st.download_button(
        f"Download {name}-{to}.zip ({len(packed) / 1e6:.1f} MB)", packed, f"{name}-{to}.zip", "application/zip",
        icon=":material/download:", on_click="ignore", key="models_take_download",
    )  # fmt: skip
    worst = max(check["largest_difference"].values())
    st.caption(f"Compared on {escape_markdown(check['compared_on'])}: largest difference of a probability {worst:.1e}.")


def _watch(job) -> None:
    if job.done():
        st.rerun()
