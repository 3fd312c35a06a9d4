"""Where pictures come from: files, a folder, the camera, the samples."""

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from cifar_model.app.classify.answers import Entry
from cifar_model.app.shared.gallery import sample_gallery
from cifar_model.classes import CLASS_NAMES
from cifar_model.pictures.folders import IMAGE_SUFFIXES


def choose_pictures() -> list[Entry]:
    """Where pictures come from: files, a folder, the camera or the samples. The last used one is shown."""
    state = st.session_state
    if "shown" not in state:
        wanted = st.query_params.get("sample")
        state.shown = wanted if wanted in CLASS_NAMES else "dog"

    def show(source: str) -> None:
        state.shown = source

    ways = {"files": "Files", "folder": "A folder", "camera": "Camera"}
    way = st.segmented_control(
        "Your own pictures", list(ways), format_func=ways.get, default="files", required=True, key="way",
        persist_state="session",
    )  # fmt: skip
    if way == "camera":
        photo = st.camera_input("Take a picture", on_change=show, args=("upload",), key="photo", width=420)
        arrived = [photo] if photo else []
    else:
        label = "Drop pictures here: one, many or a whole folder" if way == "files" else "Choose a folder"
        arrived = st.file_uploader(
            label,
            type=[suffix[1:] for suffix in IMAGE_SUFFIXES],
            accept_multiple_files=True if way == "files" else "directory",
            on_change=show,
            args=("upload",),
            key=f"uploads_{way}",
        )
    st.caption("Or a sample photograph, none of them from CIFAR-10:")
    # Whoever is to guess first isn't told by a name.
    secret = bool(state.get("predict"))
    sample_gallery(key="samples", selected=state.shown, on_pick=show, size="5.6rem", secret=secret)
    if state.shown == "upload" and arrived:
        return [_uploaded(file) for file in sorted(arrived, key=lambda file: file.name)]
    sample = state.shown if state.shown in CLASS_NAMES else "dog"
    return [Entry(f"sample-{sample}", sample, lambda: None)]


def _uploaded(file: UploadedFile) -> Entry:
    return Entry(file.file_id, file.name, file.getvalue)
