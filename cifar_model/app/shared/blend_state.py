"""What a visit remembers from page to page, and what a link to a blend says."""

from dataclasses import dataclass, field

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.workers.prepare import Picture
from cifar_model.pictures.mix import MODES

DEFAULT_RATIO = 40


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
    """Read ?a=cat&b=dog&ratio=40&mode=average&model=lab-net,seed-cnn; note what makes no sense."""
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
        st.session_state.mode = link["mode"]
    elif "mode" in link:
        blend.refused.append("mode")
    if "model" in link:
        known = {model.name for model in resources.models()}
        wanted = list(dict.fromkeys(link["model"].split(",")))
        if len(wanted) <= 2 and known.issuperset(wanted):
            st.session_state.update(zip(("model", "second_model"), wanted, strict=False))
        else:
            blend.refused.append("model")
    return blend


def write_link(blend: Blend, mode: str, models: list[str]) -> None:
    """Put the blend into the page's address."""
    link = {slot: blend.pictures[slot].name for slot in ("a", "b") if blend.is_sample(slot)}
    link |= {"ratio": str(blend.ratio), "mode": mode}
    if models:
        link["model"] = ",".join(models)
    if st.query_params.to_dict() != link:
        st.query_params.from_dict(link)
