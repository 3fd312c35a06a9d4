"""The table of all answers on Classify, to look at and to take along."""

import streamlit as st

from cifar_model.app.classify.answers import Entry, Visit
from cifar_model.app.shared.reading import Reading, classes_of
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo
from cifar_model.storage import csv_bytes


def show_table(entries: list[Entry], models: list[ModelInfo], answers: Visit, reading: Reading) -> None:
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


def table(entries: list[Entry], models: list[ModelInfo], answers: Visit, reading: Reading) -> list[dict]:
    """One row a picture and model: class, probability, all ten probabilities, and what else the model can say.

    Columns of answer set and scope are there when one of the models has them; the set's classes are parted by spaces.
    """
    rows = []
    for entry in entries:
        for model in models:
            belief, picture = answers.belief(entry, model), answers.picture(entry)
            row = {"file": entry.name, "model": model.name, "class": None, "probability": None}
            row |= dict.fromkeys((*CLASS_NAMES, "set", "scope", "in_scope"))
            if belief is None:
                row["error"] = picture if isinstance(picture, str) else "not answered"
            else:
                shown, members = belief.shown(reading.raw), belief.members(reading.level)
                row |= {name: round(float(p), 6) for name, p in zip(CLASS_NAMES, shown, strict=True)}
                row |= {"class": CLASS_NAMES[int(shown.argmax())], "probability": round(float(shown.max()), 6)}
                row["set"] = classes_of(members)
                if belief.scope is not None:
                    row |= {"scope": round(float(belief.scope), 6), "in_scope": bool(belief.in_scope)}
                row["error"] = None
            rows.append(row)
    for names in (("set",), ("scope", "in_scope")):
        if all(row[name] is None for row in rows for name in names):
            for row in rows:
                for name in names:
                    del row[name]
    return rows


def as_csv(rows: list[dict]) -> bytes:
    """A table as a file that a spreadsheet opens."""
    return csv_bytes(list(rows[0]), (row.values() for row in rows))
