"""What a visit remembers from page to page, and what a link to a blend says."""

from dataclasses import dataclass, field

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.options import write_link
from cifar_model.app.shared.remembered import remember
from cifar_model.app.workers.prepare import Picture
from cifar_model.pictures.mix import MODES

DEFAULT_RATIO = 40
# The ways to mix, as they are called on the screen.
MODE_NAMES = {
    "average": "Pixel average",
    "linear": "Linear light",
    "halves": "Halves",
    "checkerboard": "Checkerboard",
    "frequencies": "Coarse + fine",
}


@dataclass
class Blend:
    """The blend that a visitor looks at. `version` counts what was set from outside the slider."""

    pictures: dict[str, Picture]  # by slot, "a" and "b"
    ratio: int = DEFAULT_RATIO  # per cent of the first picture
    version: int = 0
    refused: list[str] = field(default_factory=list)  # parts of the link that made no sense

    def is_sample(self, slot: str) -> bool:
        """Whether a slot holds one of the sample photographs, which a link can name."""
        picture = self.pictures[slot]
        return resources.samples().get(picture.name) is picture

    def set(self, *, ratio: int | None = None, **pictures: Picture) -> None:
        """Choose pictures (a=, b=) or a ratio."""
        self.pictures |= pictures
        self.ratio = self.ratio if ratio is None else ratio
        self.version += 1

    def swap(self) -> None:
        """Exchange the pictures; the mix stays what it is."""
        self.set(a=self.pictures["b"], b=self.pictures["a"], ratio=100 - self.ratio)


def blend_state() -> Blend:
    """This visit's blend; at its start the one that the link describes, else 40 % cat + 60 % dog."""
    if "blend" not in st.session_state:
        st.session_state.blend = _from_link()
    return st.session_state.blend


def use_in_blend(slot: str, picture: Picture) -> None:
    """Take a picture along to the Blend page."""
    blend_state().set(**{slot: picture})
    st.switch_page("pages/blend.py")


def _from_link() -> Blend:
    """Read ?a=cat&b=dog&ratio=40&mode=average; note what makes no sense."""
    link, samples = st.query_params, resources.samples()
    blend = Blend({"a": samples["cat"], "b": samples["dog"]})
    for slot in ("a", "b"):
        if link.get(slot) in samples:
            blend.pictures[slot] = samples[link[slot]]
        elif slot in link:
            blend.refused.append(slot)
    ratio = link.get("ratio", "")
    if ratio.isascii() and ratio.isdigit() and len(ratio) <= 3 and int(ratio) <= 100:
        blend.ratio = int(ratio)
    elif ratio:
        blend.refused.append("ratio")
    if link.get("mode") in MODES:
        remember("mode", link["mode"])
    elif "mode" in link:
        blend.refused.append("mode")
    return blend


def write_blend_link(blend: Blend, mode: str, models: list[str]) -> None:
    """Put the blend into the page's address."""
    link = {slot: blend.pictures[slot].name for slot in ("a", "b") if blend.is_sample(slot)}
    link |= {"ratio": str(blend.ratio), "mode": mode}
    if models:
        link["model"] = ",".join(models)
    write_link(**link)
