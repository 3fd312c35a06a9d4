"""Which parts of a page a link shows, for a lesson: `?show=samples,why`; all of them where it names none."""

import streamlit as st

SHOW = "show"  # on Models the same word opens a question

# Of all pages; what a page is about (the answer, the blend) is always there.
PARTS = {
    "samples": "Classify: the sample photographs",
    "own": "Classify: adding one's own pictures",
    "table": "Classify: the table of all answers",
    "pictures": "Blend: the choice of pictures and of the way to mix",
    "ambiguous": "Blend: the most ambiguous pairs",
    "downloads": "Blend: the downloads",
    "why": "Classify and Blend: the evidence",
    "options": "Classify, Blend and Models: Options",
    "run": "Train: the run that trains, or was opened",
    "new": "Train: a new run",
    "distilled": "Train: a look at the distilled images",
    "sweeps": "Train: sweeps, trainings that differ in some settings",
    "runs": "Train: all runs",
}


def shows(part: str) -> bool:
    """Whether the page's address lets a part be seen; words in it that are no part count for nothing."""
    named = PARTS.keys() & set(st.query_params.get(SHOW, "").split(","))
    return not named or part in named
