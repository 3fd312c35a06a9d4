"""The parts of the Classify page: where pictures come from, one picture's answers, the gallery of many."""

import csv
import io
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.images import IMAGE_SUFFIXES
from cifar_model.models import ModelInfo
from cifar_model.ui import components, resources
from cifar_model.ui.jobs import Picture
from cifar_model.ui.state import use_in_blend

CENTRE = 0.5
TILES_A_PAGE = 24
AT_A_TIME = 6  # pictures decoded before their answers are shown
SECONDS_A_RUN = 0.5  # of work between two updates of the page
SORTS = {"by name": None, "least sure first": 1, "surest first": -1}


@dataclass(frozen=True)
class Entry:
    """A picture that is to be answered, however it came."""

    id: str
    name: str
    read: Callable[[], bytes | None]  # None for a sample, which is at hand already


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
    components.sample_gallery(key="samples", selected=state.shown, on_pick=show, size="5.6rem")
    if state.shown == "upload" and arrived:
        return [_uploaded(file) for file in sorted(arrived, key=lambda file: file.name)]
    sample = state.shown if state.shown in CLASS_NAMES else "dog"
    return [Entry(f"sample-{sample}", sample, lambda: None)]


def _uploaded(file: UploadedFile) -> Entry:
    return Entry(file.file_id, file.name, file.getvalue)


class Answers:
    """What this visitor's pictures came to: kept in the session, so that only what is new is worked on."""

    def __init__(self) -> None:
        self.pictures: dict[tuple, Picture | str] = {}  # (entry, position) → the picture, or why it is none
        self.beliefs: dict[tuple, np.ndarray] = {}  # (entry, position, model, its version) → float32 (10,)
        self.positions: dict[str, float] = {}

    def key(self, entry: Entry) -> tuple:
        return entry.id, self.positions.get(entry.id, CENTRE)

    def picture(self, entry: Entry) -> Picture | str | None:
        """The picture, a message why it can't be read, or None as long as nobody has looked."""
        return self.pictures.get(self.key(entry))

    def belief(self, entry: Entry, model: ModelInfo) -> np.ndarray | None:
        return self.beliefs.get((*self.key(entry), model.path, resources.version(model.path)))

    def forget_all_but(self, entries: list[Entry]) -> None:
        """Drop what belongs to pictures that the visitor has taken away."""
        here = {entry.id for entry in entries}
        for kept in (self.pictures, self.beliefs):
            for key in [key for key in kept if key[0] not in here and not key[0].startswith("sample-")]:
                del kept[key]

    def missing(self, entries: list[Entry], models: list[ModelInfo]) -> list[Entry]:
        def incomplete(entry: Entry) -> bool:
            picture = self.picture(entry)
            return picture is None or (
                isinstance(picture, Picture) and any(self.belief(entry, model) is None for model in models)
            )

        return [entry for entry in entries if incomplete(entry)]

    def decode(self, entries: list[Entry]) -> None:
        """Read pictures that nobody has looked at yet."""
        self.collect(self.start(entries))

    def start(self, entries: list[Entry]) -> dict[tuple, Future]:
        """Have pictures read that nobody has looked at yet; `collect` takes the results."""
        jobs = {}
        for entry in entries:
            if self.picture(entry) is not None:
                continue
            if entry.id.startswith("sample-") and entry.id not in self.positions:
                self.pictures[self.key(entry)] = resources.samples()[entry.name]
                continue
            source = entry.read() or resources.sample_path(entry.name)
            position = self.positions.get(entry.id, CENTRE)
            job = resources.drawing().submit("prepare", source, entry.name, (position, position))
            jobs[self.key(entry)] = job
        return jobs

    def collect(self, jobs: dict[tuple, Future]) -> None:
        """Keep what `start` has had read."""
        for key, job in jobs.items():
            try:
                self.pictures[key] = job.result(60)
            except LabError as error:
                self.pictures[key] = str(error)

    def ask(self, entries: list[Entry], models: list[ModelInfo]) -> None:
        """Answer pictures that have been read."""
        for model in models:
            asked = [
                entry
                for entry in entries
                if isinstance(self.picture(entry), Picture) and self.belief(entry, model) is None
            ]
            if asked:
                pixels = np.stack([self.picture(entry).pixels for entry in asked])
                beliefs = resources.ask(model.path, pixels)
                for entry, belief in zip(asked, beliefs, strict=True):
                    self.beliefs[*self.key(entry), model.path, resources.version(model.path)] = belief


def show_answers(entries: list[Entry], models: list[ModelInfo]) -> None:
    """Everything below the choice of pictures; works for half a second, shows what there is, and goes on."""
    answers: Answers = st.session_state.setdefault("answers", Answers())
    answers.forget_all_but(entries)
    chosen = next((entry for entry in entries if entry.id == st.session_state.get("chosen")), entries[0])
    answers.decode([chosen])
    place = st.container()
    if len(entries) > 1:
        progress = st.empty()
        with st.container():
            shown = _toolbar(entries, models, answers)
    with place:
        _one(chosen, models, answers)
    if len(entries) == 1:
        return
    components.wait_for(resources.answering(), progress)
    started = time.monotonic()
    # What is on the screen comes first.
    waiting = answers.missing(shown, models) + answers.missing([e for e in entries if e not in shown], models)
    jobs = answers.start(waiting[:AT_A_TIME])
    while waiting:
        done = len(entries) - len(waiting)
        progress.progress(done / len(entries), f"{done} of {len(entries)} pictures answered")
        if time.monotonic() - started > SECONDS_A_RUN:
            break
        part, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
        answers.collect(jobs)
        jobs = answers.start(waiting[:AT_A_TIME])  # read by one process while the other answers
        answers.ask(part, models)
    answers.collect(jobs)
    _many(entries, shown, chosen, models, answers)
    if waiting:
        st.rerun()
    progress.empty()
    _results(entries, models, answers)


def _one(entry: Entry, models: list[ModelInfo], answers: Answers) -> None:
    """One picture: what arrived, what the network sees, and what each model believes."""
    picture = answers.picture(entry)
    if isinstance(picture, str):
        st.error(picture, icon=":material/broken_image:")
        return

    def move(position: float) -> None:
        answers.positions[entry.id] = position

    left, right = st.columns([1.15, len(models) or 1], gap="large")
    with left:
        position = answers.positions.get(entry.id, CENTRE)
        components.lens(picture, position, key=f"lens-{entry.id}", on_move=move)
        ways = {"a": "as the first picture", "b": "as the second picture"}
        slot = st.menu_button(
            "Use in Blend", list(ways), format_func=ways.get, icon=":material/gradient:", key="use_in_blend"
        )
        if slot:
            use_in_blend(slot, picture)
    with right, components.guarded():
        place = st.empty()
        if not models:
            return
        components.wait_for(resources.answering(), place)
        answers.ask([entry], models)
        for column, model in zip(st.columns(len(models), gap="medium"), models, strict=True):
            with column:
                _belief(answers.belief(entry, model), model)
        st.caption(components.SOFTMAX)


def _belief(belief: np.ndarray, model: ModelInfo) -> None:
    best = int(belief.argmax())
    with st.container(gap=None):
        st.caption(model.title)
        st.subheader(f"{CLASS_NAMES[best]} · {components.percent(belief[best])}", anchor=False)
    said = ", ".join(f"{CLASS_NAMES[i]} {components.percent(belief[i])}" for i in np.argsort(-belief)[:3])
    components.bars(belief, label=f"Probabilities by {model.title}: {said}", key=f"bars-{model.name}")


def _toolbar(entries: list[Entry], models: list[ModelInfo], answers: Answers) -> list[Entry]:
    """How many pictures are sorted and paged; returns those of the page."""
    st.divider()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        order = st.segmented_control(
            f"{len(entries)} pictures", list(SORTS), default="by name", required=True, key="order"
        )
        pages = -(-len(entries) // TILES_A_PAGE)
        page = st.pagination(pages, key="page", width=330) if pages > 1 else 1
    sign = SORTS[order]
    if sign and models:

        def confidence(entry: Entry) -> tuple:
            belief = answers.belief(entry, models[0])
            return (belief is None, 0 if belief is None else sign * float(belief.max()))

        entries = sorted(entries, key=confidence)
    start = (min(page, pages) - 1) * TILES_A_PAGE
    return entries[start : start + TILES_A_PAGE]


def _many(entries, shown, chosen: Entry, models: list[ModelInfo], answers: Answers) -> None:
    """The gallery, and what could not be read."""

    def tile(entry: Entry) -> dict:
        picture = answers.picture(entry)
        belief = answers.belief(entry, models[0]) if models else None
        if not isinstance(picture, Picture):
            return components.tile(entry.id, None, title=entry.name, note=picture or "")
        if belief is None:
            return components.tile(entry.id, picture, title=entry.name)
        best = CLASS_NAMES[int(belief.argmax())]
        title = f"{best} {components.percent(belief.max())}"
        return components.tile(entry.id, picture, title=title, note=entry.name, color=CLASS_COLORS[best])

    def choose(identity: str) -> None:
        st.session_state.chosen = identity

    components.gallery(
        [tile(entry) for entry in shown],
        label="Pictures and their answers",
        key="gallery",
        selected=chosen.id,
        on_pick=choose,
        size="8.2rem",
    )
    broken = [message for entry in entries if isinstance(message := answers.picture(entry), str)]
    if broken:
        with st.expander(f"{len(broken)} of {len(entries)} files can't be read", expanded=True):
            for message in broken:
                st.error(message, icon=":material/broken_image:")


def _results(entries: list[Entry], models: list[ModelInfo], answers: Answers) -> None:
    """The table of all answers, to look at and to take along."""
    if not models:
        return
    rows = _table(entries, models, answers)
    with st.expander("All answers as a table", icon=":material/table:"):
        st.dataframe(rows, hide_index=True)
    st.download_button(
        "Download the table (CSV)", lambda: _csv(rows), "answers.csv", "text/csv", icon=":material/download:",
        on_click="ignore",
    )  # fmt: skip


def _table(entries: list[Entry], models: list[ModelInfo], answers: Answers) -> list[dict]:
    """One row a picture and model: file, model, class, probability, and all ten probabilities."""
    rows = []
    for entry in entries:
        for model in models:
            belief = answers.belief(entry, model)
            picture = answers.picture(entry)
            row = {"file": entry.name, "model": model.name}
            if belief is None:
                row |= {"class": None, "probability": None, **dict.fromkeys(CLASS_NAMES)}
                row["error"] = picture if isinstance(picture, str) else "not answered"
            else:
                row["class"] = CLASS_NAMES[int(belief.argmax())]
                row["probability"] = round(float(belief.max()), 6)
                row |= {name: round(float(p), 6) for name, p in zip(CLASS_NAMES, belief, strict=True)}
                row["error"] = None
            rows.append(row)
    return rows


def _csv(rows: list[dict]) -> bytes:
    def harmless(value):
        # A spreadsheet would run a file name that begins like a formula.
        return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({name: harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8-sig")
