"""A look into a network: curves, layers, first filters, a picture's way through."""

import html

import numpy as np
import streamlit as st

from cifar_model.app.models.link import QUESTION
from cifar_model.app.shared import resources
from cifar_model.app.shared.gallery import gallery, sample_gallery, tile
from cifar_model.app.shared.page import guarded, wait_for
from cifar_model.app.shared.remembered import remember
from cifar_model.app.workers.prepare import Picture
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.history import read_history
from cifar_model.pictures.encode import data_url, encode_png
from cifar_model.trust.report import Report

VIEWS = ("Learning curves", "Layers", "First filters", "An image's way")
VIEW = "models_view"
FOLLOWED = "models_followed"  # session key: (name, pixels) of the picture whose way is shown


def follow(name: str, pixels: np.ndarray) -> None:
    """Show the way of this picture, uint8 (32, 32, 3), through the network."""
    st.session_state[FOLLOWED] = name, pixels
    remember(QUESTION, "inside")
    st.session_state["models_show"] = VIEWS[-1]  # the choice itself may be on the screen already


@st.fragment
def show_inside(report: Report) -> None:
    """One of VIEWS, by the visitor's choice."""
    if wanted := st.session_state.pop("models_show", None):
        st.session_state[VIEW] = wanted
    st.session_state.setdefault(VIEW, VIEWS[0])
    view = st.segmented_control(
        "Look at", VIEWS, required=True, key=VIEW, label_visibility="collapsed", persist_state="session"
    )
    with guarded():
        (_curves, _layers, _filters, _way)[VIEWS.index(view)](report)


def _curves(report: Report) -> None:
    st.caption(
        "Its training, epoch by epoch. Blue: on training images; orange: on held-out ones. Where blue keeps improving "
        "and orange doesn't, it overfits. The loss is the cross-entropy, how improbable the network finds the true "
        "classes: lower is better, guessing gives 2.3."
    )
    folder = report.path if report.path.is_dir() else report.path.parent.parent
    history = read_history(folder)
    if history.empty:
        st.info(
            "This model has no history.csv, which a training writes at the end of each epoch.", icon=":material/info:"
        )
        return
    with st.grid(2, min_column_width=320):
        for quantity, title in (("accuracy", "Accuracy"), ("loss", "Loss")):
            with st.container(gap="xxsmall"):
                st.markdown(f"**{title}**")
                st.vega_lite_chart(spec=resources.chart("curve", history, quantity), width="stretch", height=300)


def _layers(report: Report) -> None:
    layers = report.layers()
    if layers is None:
        st.info("Its card names no network of this lab, so its layers aren't known here.", icon=":material/info:")
        return
    st.caption(
        "What an image passes through, top to bottom. **Output**: height × width × channels; a channel is a map of "
        "where one kind of pattern occurs. **Weights**: the numbers that training sets."
    )
    st.dataframe(
        {
            "Layer": [row["layer"] for row in layers],
            "Kind": [row["kind"] for row in layers],
            "Output": [" × ".join(map(str, row["output"])) for row in layers],
            "Weights": [row["parameters"] for row in layers],
        },
        hide_index=True,
        column_config={"Weights": st.column_config.NumberColumn(format="localized")},
        height="content",
        width=720,
        alt="Layers of the network with their output shapes and weights",
    )
    total = sum(row["parameters"] for row in layers)
    st.markdown(f"**{total:,}** weights in all. Layers without weights (pooling, ReLU, dropout) are left out.")


def _filters(report: Report) -> None:
    place = st.empty()
    wait_for(resources.explaining(), place)
    layer, pictures = resources.filters(report.path)
    st.caption(
        f"The first convolution ({layer}): {len(pictures)} patterns of {pictures.shape[1]} × {pictures.shape[2]} "
        "pixels that it looks for all over the image: edges, spots, colours. Grey: no influence."
    )
    names = [f"filter {number}" for number in range(1, len(pictures) + 1)]
    _tiles(pictures, names, [""] * len(pictures), width="3.4rem")


def _way(report: Report) -> None:
    st.caption(
        "Choose an image and see what each layer finds in it. Each tile is one channel: dark where its pattern is "
        "absent, yellow where it is strongest. Early layers respond to edges and colours, later ones to parts."
    )
    samples, own = resources.samples(), _from_classify()
    followed = st.session_state.get(FOLLOWED)
    name, pixels = followed or ("dog", samples["dog"].pixels)

    def pick(identity: str) -> None:
        st.session_state[FOLLOWED] = identity, samples[identity].pixels

    selected = name if name in samples else None
    sample_gallery(key="models_samples", selected=selected, on_pick=pick, size="4.2rem", titles=False)
    if own:
        st.caption("Your pictures from Classify:")

        def pick_own(identity: str) -> None:
            picture = own[int(identity)]
            st.session_state[FOLLOWED] = picture.name, picture.pixels

        tiles = [tile(str(number), picture, title=picture.name) for number, picture in enumerate(own)]
        gallery(
            tiles, label="Your pictures", key="models_own", selected=None, on_pick=pick_own, size="4.2rem", strip=True
        )
    else:
        st.caption("Pictures that you add on the Classify page can be followed here too.")
    place = st.empty()
    wait_for(resources.explaining(), place)
    layers = resources.activations(report.path, pixels)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(encode_png(pixels, scale=5), width=112, alt=f"{name}, as the network sees it")
        kind = "sample photograph" if name in CLASS_NAMES else "picture"
        st.markdown(f"**{_short(name)}**  \n:small[{kind}, as the network sees it]")
    for layer, (height, width, channels), pictures, numbers in layers:
        st.markdown(
            f"**{layer}**  :small[{channels} channels of {height} × {width}; "
            f"{'all' if len(pictures) == channels else f'the {len(pictures)} strongest'}]"
        )
        alts = [f"{layer}, channel {number + 1}" for number in numbers]
        _tiles(pictures, alts, [""] * len(pictures), width="3.4rem")


def _from_classify() -> list[Picture]:
    """What this visitor has dropped on Classify, as it was last cut."""
    answers = st.session_state.get("answers")
    kept = getattr(answers, "pictures", {})
    latest = {key[0]: picture for key, picture in kept.items() if isinstance(picture, Picture)}
    return [picture for identity, picture in latest.items() if not identity.startswith("sample-")][:48]


def _short(name: str) -> str:
    name = name if len(name) <= 40 else name[:18] + "…" + name[-20:]
    return "".join(f"\\{c}" if c in r"\`*_{}[]#!|~$:<>&" else c for c in name)


def _tiles(pictures: np.ndarray, alts: list[str], notes: list[str], *, width: str) -> None:
    """Small pictures uint8 (n, h, w, 3) in rows, each pixel a square however large they are shown."""
    figures = "".join(
        f'<figure style="margin:0"><img src="{data_url(picture)}" alt="{html.escape(alt)}" title="{html.escape(alt)}" '
        f'style="width:100%;aspect-ratio:1;image-rendering:pixelated;border-radius:0.2rem;display:block">'
        f"<figcaption>{html.escape(note)}</figcaption></figure>"
        for picture, alt, note in zip(pictures, alts, notes, strict=True)
    )
    st.html(
        f'<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax({width},1fr));gap:0.35rem;'
        f'max-width:62rem">{figures}</div>'
    )
