"""Names of any script on a sheet: each letter drawn, or spelt out, never a box."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cifar_model.charts.lettering import Lettering, _has
from cifar_model.charts.sheets import contact_sheet


def drawn(lettering, text, width=400):
    image = Image.new("L", (width, 40), 255)
    lettering.draw(ImageDraw.Draw(image), (0, 4), text, width)
    return np.asarray(image)


def test_what_no_font_has_is_spelt_out():
    bare = Lettering(12, fonts=())  # Pillow's own font alone, which has ASCII and little more
    assert bare.spelt("cat 3.jpg") == "cat 3.jpg"
    assert bare.spelt("写真😀") == "\\u5199\\u771f\\U0001f600"
    assert bare.spelt("tab\tnew") == "tab\\u0009new"
    np.testing.assert_array_equal(drawn(bare, "\\u5199"), drawn(bare, "写"))


def test_marks_on_letters_are_joined_as_a_mac_writes_them():
    bare = Lettering(12, fonts=())
    assert bare.spelt("u\u0308") == bare.spelt("ü") and bare.spelt("ü") in ("ü", "\\u00fc")


def test_a_font_that_has_a_letter_draws_it():
    lettering = Lettering(12)
    for letter in "üßéłжΩ写日가":
        fonts = [font for font in lettering._all_fonts() if _has(font, letter)]
        assert (lettering.spelt(letter) == letter) == bool(fonts)


def test_boxes_are_told_from_letters():
    font = ImageFont.load_default(size=14)
    assert _has(font, "a") and _has(font, "…") and _has(font, " ")
    assert not _has(font, "写") and not _has(font, "\U0010fffd")


@pytest.mark.parametrize("name", ["x" * 300, "写" * 60, "Grüße.jpg"])
def test_a_long_name_stays_within_its_picture(name):
    sheet = np.asarray(contact_sheet(np.full((2, 32, 32, 3), 90, np.uint8), [name, ""], scale=4).convert("L"))
    left, tile = 8, 128
    assert (sheet[8 + tile + 1 :, left + tile + 4 :] == 255).all()
    assert (sheet[8 + tile + 2 :, left : left + tile] < 200).any()
