"""What a browser component makes of the states that it is given, in Chromium but without the server."""

from base64 import b64encode
from pathlib import Path

import cifar_model.app.browser
from cifar_model.app.shared.lens import CLASSES

BROWSER = Path(cifar_model.app.browser.__file__).parent
DELIVER = """async ({ module, states }) => {
    const parent = document.createElement("div");
    parent.innerHTML = '<div class="root"></div>';
    const show = (await import(module)).default;
    for (const data of states) show({ data: [data], parentElement: parent });
    return [...parent.querySelectorAll(".value")].map((value) => value.textContent);
}"""


def test_a_state_that_comes_late_does_not_replace_a_newer_one(page):
    code = (BROWSER / "base" / "base.js").read_text("utf-8") + (BROWSER / "bars" / "bars.js").read_text("utf-8")
    module = "data:text/javascript;base64," + b64encode(code.encode()).decode()

    def state(changed, best):
        probabilities = [float(i == best) for i in range(10)]
        return {"changed": changed, "classes": CLASSES, "probabilities": probabilities, "label": "answers"}

    older, newer = state(1, 3), state(2, 5)
    for order in ([older, newer], [newer, older], [newer, older, newer]):
        shown = page.evaluate(DELIVER, {"module": module, "states": order})
        assert shown == ["100 %" if i == 5 else "< 0.1 %" for i in range(10)]
