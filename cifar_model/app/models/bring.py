"""Bring a model: somebody's own Keras file becomes a model like any other."""

from concurrent.futures import Future
from pathlib import Path

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.options import LINK
from cifar_model.app.shared.owner import ask_for_code, is_owner
from cifar_model.app.shared.page import guarded, show_error
from cifar_model.app.workers.inout import LARGEST_UPLOAD
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError, ModelError, SettingsError
from cifar_model.models.importing.bring import suggested_name
from cifar_model.models.importing.fit import PIXELS, check_classes
from cifar_model.runs.names import check_name
from cifar_model.storage import runs_dir
from cifar_model.text import escape_markdown, share

JOB = "models_bringing"  # session key: (name, Future) of the file that is being read
BROUGHT = "models_brought"  # session key: (name, what was found) of the last one, to be told once


def show_bring() -> None:
    if told := st.session_state.pop(BROUGHT, None):
        name, notes = told
        st.success(
            f"**{escape_markdown(name)}** is here now, and chosen above.  \n"
            + "  \n".join(map(escape_markdown, notes)),
            icon=":material/check:",
        )
    with st.expander("Bring a model", icon=":material/upload_file:"):
        st.caption(
            "A classifier of your own for CIFAR-10's ten classes, saved by Keras as a .keras or .h5 file. It becomes a "
            "model like any other here. SavedModel folders, LiteRT and ONNX files: `python -m cifar_model import PATH`."
        )
        with guarded():
            if not is_owner():
                ask_for_code()
            elif JOB in st.session_state:
                _under_way()
            else:
                _form()


def _form() -> None:
    file = st.file_uploader(
        "A .keras or .h5 file", type=["keras", "h5"], key="models_bring_file",
        max_upload_size=LARGEST_UPLOAD // 2**20,
    )  # fmt: skip
    with st.container(horizontal=True):
        given = st.text_input("Name", key="models_bring_name", placeholder="from the file's name", width=240)
        pixels = st.selectbox(
            "Range of its input pixels", ["find out", *PIXELS], key="models_bring_pixels", width=240,
            format_func=lambda key: f"{key}: {PIXELS[key]}" if key in PIXELS else key,
            help="“find out” tries each range on labelled images and takes the one with the highest accuracy.",
        )  # fmt: skip
        classes = st.text_input(
            "Order of its classes", key="models_bring_classes", placeholder="find out", width=400,
            help=f"All ten names, in the order of its outputs. The usual order: {', '.join(CLASS_NAMES)}.",
        )  # fmt: skip
    if st.button("Bring it in", icon=":material/login:", type="primary", disabled=file is None):
        content = file.getvalue()
        name = check_name(given.strip() or suggested_name(Path(file.name)))
        check_classes(classes.strip() or None)
        if len(content) > LARGEST_UPLOAD:
            raise ModelError(f"The file has {len(content) / 2**20:.0f} MB; at most {LARGEST_UPLOAD // 2**20} are read.")
        if (runs_dir() / name).exists():
            raise SettingsError(f"A model named {name!r} exists already: choose another name.")
        wanted = None if pixels == "find out" else pixels
        job = resources.workshop().submit("bring", content, file.name, name, wanted, classes.strip() or None)
        st.session_state[JOB] = name, job
        st.rerun()


@st.fragment(run_every=1.0)
def _under_way() -> None:
    name, job = st.session_state.get(JOB) or (None, None)
    if job is None:
        return
    if not job.done():
        st.info(
            f"{escape_markdown(name)} is being read and tried on labelled images. This takes up to a minute.",
            icon=":material/hourglass_top:",
        )
        return
    del st.session_state[JOB]
    _finish(name, job)


def _finish(name: str, job: Future) -> None:
    try:
        card = job.result()
    except LabError as error:
        show_error(error)
        st.button("Try another file", key="models_bring_again")
        return
    notes = list(card.get("imported", {}).get("notes", ()))
    accuracy = card.get("scores", {}).get("test_accuracy")
    if accuracy is not None:
        notes.append(f"Test accuracy: {share(accuracy)}.")
    st.session_state[BROUGHT] = name, notes
    st.query_params[LINK] = name  # as a link does it
    st.rerun()
