"""What all charts have in common: background, colours, size, description.

Every chart has a transparent background and takes its text colour from the page's theme; `save_chart` puts it
on white. Marks that carry text use a grey that reads on white and on near-black.
"""

import altair as alt

NEUTRAL = "#7A7A7A"  # contrast at least 4:1 on white and on #0E1117
TRAINING, VALIDATION = "#0072B2", "#D55E00"


def finish_chart(chart: alt.Chart, *, description: str, title: str | None, height: int, width: int = 560):
    chart = chart.properties(description=description, height=height, width=width, background="transparent")
    return chart.properties(title=title) if title else chart
