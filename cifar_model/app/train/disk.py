"""What runs and caches take on disk, in one line."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.shared.owner import is_owner
from cifar_model.runs.disk import cache_items, gigabytes, old_caches, quota, remove, run_items


@st.cache_data(ttl=60, show_spinner=False)
def _sizes() -> tuple[int, int]:
    return sum(item.size for item in run_items()), sum(item.size for item in cache_items())


def disk_use() -> None:
    """How much runs and caches take, and for who may do everything a button that clears the caches."""
    runs, caches = _sizes()
    most = quota()
    with st.container(horizontal=True, vertical_alignment="center"):
        allowed = f" of {gigabytes(most)} allowed" if most else ""
        st.caption(f"On disk: runs {gigabytes(runs)}, caches {gigabytes(caches)}{allowed}.", width="content")
        if is_owner() and caches:
            st.button(
                "Clear caches", icon=":material/mop:", type="tertiary", on_click=_clear, key="train_clear_caches",
                help="Decoded images and converted networks; they are made again when they are needed.",
            )  # fmt: skip


def _clear() -> None:
    if is_owner():
        for item in old_caches(cache_items(), 0):
            remove(item)
        _sizes.clear()
