"""The parts of the Classify page: where pictures come from, one picture's answers, the gallery of many."""

import time

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.images import IMAGE_SUFFIXES
from cifar_model.models import ModelInfo
from cifar_model.ui import components, components_predict, components_trust, resources
from cifar_model.ui.answers import CENTRE, Answers, Entry, as_csv, table
from cifar_model.ui.components_trust import Reading
from cifar_model.ui.components_why import explain_picture
from cifar_model.ui.jobs import Picture
from cifar_model.ui.state import use_in_blend

TILES_A_PAGE = 24
AT_A_TIME = 6  # pictures decoded before their answers are shown
SECONDS_A_RUN = 0.5  # of work between two updates of the page
SORTS = {"by name": None, "least sure first": 1, "surest first": -1}


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
    components.sample_gallery(key="samples", selected=state.shown, on_pick=show, size="5.6rem", secret=secret)
    if state.shown == "upload" and arrived:
        return [_uploaded(file) for file in sorted(arrived, key=lambda file: file.name)]
    sample = state.shown if state.shown in CLASS_NAMES else "dog"
    return [Entry(f"sample-{sample}", sample, lambda: None)]


def _uploaded(file: UploadedFile) -> Entry:
    return Entry(file.file_id, file.name, file.getvalue)


def show_answers(entries: list[Entry], models: list[ModelInfo]) -> None:
    """Everything below the choice of pictures; works for half a second, shows what there is, and goes on."""
    answers: Answers = st.session_state.setdefault("answers", Answers())
    answers.forget_all_but(entries)
    reading = components_trust.choose_reading(models)
    playing = components_predict.game("classify")
    chosen = next((entry for entry in entries if entry.id == st.session_state.get("chosen")), entries[0])
    answers.decode([chosen])
    place = st.container()
    if len(entries) > 1:
        progress = st.empty()
        with st.container():
            shown = _toolbar(entries, models, answers, reading)
    with place:
        score = st.container()  # filled last, for the round that is shown below counts
        _one(chosen, models, answers, reading)
        if reading.predict:
            with score:
                components_predict.show_score(playing, models)
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
    _many(entries, shown, chosen, models, answers, reading)
    if waiting:
        st.rerun()
    progress.empty()
    readable = [entry for entry in entries if isinstance(answers.picture(entry), Picture)]
    if reading.predict and any(entry.id not in playing.rounds for entry in readable):
        st.caption("The table of all answers comes when all pictures are guessed, or without “Predict first”.")
    else:
        _results(entries, models, answers, reading)


def _one(entry: Entry, models: list[ModelInfo], answers: Answers, reading: Reading) -> None:
    """One picture: what arrived, what the network sees, what each model believes, and why."""
    picture = answers.picture(entry)
    if isinstance(picture, str):
        st.error(picture, icon=":material/broken_image:")
        return
    playing = components_predict.game("classify")
    hidden = reading.predict and entry.id not in playing.rounds

    def move(position: float) -> None:
        answers.positions[entry.id] = position

    left, right = st.columns([1.15, len(models) or 1], gap="large")
    with left:
        position = answers.positions.get(entry.id, CENTRE)
        name = "a sample" if hidden and entry.truth else None
        components.lens(picture, position, key=f"lens-{entry.id}", on_move=move, name=name)
        ways = {"a": "as the first picture", "b": "as the second picture"}
        slot = st.menu_button(
            "Use in Blend", list(ways), format_func=ways.get, icon=":material/gradient:", key="use_in_blend"
        )
        if slot:
            use_in_blend(slot, picture)
    if not models:
        return
    with right, components.guarded():
        components.wait_for(resources.answering(), st.empty())
        answers.ask([entry], models)
        beliefs = [answers.belief(entry, model) for model in models]
        if hidden:
            components_predict.ask_guess(playing, entry.id)
            return
        if reading.predict:
            said = {m.name: CLASS_NAMES[int(b.probabilities.argmax())] for m, b in zip(models, beliefs, strict=True)}
            components_predict.show_round(playing, entry.id, said, entry.truth)
        for column, model, belief in zip(st.columns(len(models), gap="medium"), models, beliefs, strict=True):
            with column:
                components_trust.show_belief(belief, model, reading)
        components_trust.notes(beliefs, reading)
    if all(answers.belief(entry, model) is not None for model in models):
        shown = [(model, belief.shown(reading.raw)) for model, belief in zip(models, beliefs, strict=True)]
        explain_picture(picture.pixels, shown, key=entry.id)


def _toolbar(entries: list[Entry], models: list[ModelInfo], answers: Answers, reading: Reading) -> list[Entry]:
    """How many pictures are sorted and paged; returns those of the page."""
    st.divider()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        order = st.segmented_control(
            f"{len(entries)} pictures", list(SORTS), default="by name", required=True, key="order",
            disabled=reading.predict,
        )  # fmt: skip
        pages = -(-len(entries) // TILES_A_PAGE)
        page = st.pagination(pages, key="page", width=330) if pages > 1 else 1
    sign = None if reading.predict else SORTS[order]  # the order would tell
    if sign and models:

        def confidence(entry: Entry) -> tuple:
            belief = answers.belief(entry, models[0])
            return (belief is None, 0 if belief is None else sign * float(belief.shown(reading.raw).max()))

        entries = sorted(entries, key=confidence)
    start = (min(page, pages) - 1) * TILES_A_PAGE
    return entries[start : start + TILES_A_PAGE]


def _many(
    entries: list[Entry], shown: list[Entry], chosen: Entry, models: list[ModelInfo], answers: Answers, reading: Reading
) -> None:
    """The gallery, and what could not be read."""
    guessed = components_predict.game("classify").rounds

    def tile(entry: Entry) -> dict:
        picture = answers.picture(entry)
        belief = answers.belief(entry, models[0]) if models else None
        if not isinstance(picture, Picture):
            return components.tile(entry.id, None, title=entry.name, note=picture or "")
        if belief is None or (reading.predict and entry.id not in guessed):
            return components.tile(entry.id, picture, title=entry.name)
        beliefs, members = belief.shown(reading.raw), belief.members(reading.level)
        best = CLASS_NAMES[int(beliefs.argmax())]
        title, color = f"{best} {components.percent(beliefs.max())}", CLASS_COLORS[best]
        said = "" if members is None else components_trust.set_in_words(members, reading.level, at_most=3)
        if components_trust.outside(belief):
            title, color, said = "None of the ten?", "", f"else {title}"
        return components.tile(entry.id, picture, title=title, note=entry.name, color=color) | {"extra": said}

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


def _results(entries: list[Entry], models: list[ModelInfo], answers: Answers, reading: Reading) -> None:
    """The table of all answers, to look at and to take along."""
    if not models:
        return
    rows = table(entries, models, answers, reading)
    with st.expander("All answers as a table", icon=":material/table:"):
        st.dataframe(rows, hide_index=True)
    st.download_button(
        "Download the table (CSV)", lambda: as_csv(rows), "answers.csv", "text/csv", icon=":material/download:",
        on_click="ignore",
    )  # fmt: skip
