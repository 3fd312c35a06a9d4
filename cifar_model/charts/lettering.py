"""Text of any script on a picture, with the fonts that a machine has: a letter of none is spelt out, never a box."""

import functools
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from PIL import ImageDraw, ImageFont

COLOUR = "#222222"

# Pillow's own font comes first and has ASCII alone. These have most letters, and are tried before all others.
_USUAL = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc",
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf",
    "msyh.ttc", "YuGothR.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf",
)  # fmt: skip
_MOST_FONTS = 300  # looked into, of those that are installed


def _folders() -> list[Path]:
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"]


@functools.cache
def _installed() -> tuple[Path, ...]:
    files = [
        file for folder in _folders() for file in folder.rglob("*") if file.suffix.lower() in (".ttf", ".otf", ".ttc")
    ]
    known = {name: i for i, name in enumerate(_USUAL)}
    # Plain ones before bold and slanted ones, for these have longer names.
    return tuple(sorted(files, key=lambda file: (known.get(file.name, len(known)), len(file.name), str(file))))[
        :_MOST_FONTS
    ]


class Lettering:
    """Draws text of a size, each letter in the first font that has it.

    fonts : paths of fonts to look into after Pillow's own; default: those that are installed
    """

    def __init__(self, size: int, fonts: tuple[Path, ...] | None = None):
        self._size, self._paths = size, fonts
        self._fonts = [ImageFont.load_default(size=size)]
        self._unopened: Iterator[Path] | None = None
        self._chosen: dict[str, ImageFont.FreeTypeFont | None] = {}
        self.height = sum(self._fonts[0].getmetrics())

    def draw(self, draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int) -> None:
        """Write one line at `place`, its top left corner; cut with an ellipsis where it is wider than `width`."""
        runs = self._runs(text)
        if self._length(runs) > width:
            text = unicodedata.normalize("NFC", text)
            while text and self._length(runs) > width:
                text = text[:-1]
                runs = self._runs(text + "…")
        x, baseline = place[0], place[1] + self._fonts[0].getmetrics()[0]
        for font, run in runs:
            draw.text((x, baseline), run, COLOUR, font, anchor="ls")
            x += font.getlength(run)

    def spelt(self, text: str) -> str:
        """The text as it is drawn: letters that no font has are spelt as "\\u5199"."""
        return "".join(run for _, run in self._runs(text))

    def _length(self, runs: list[tuple[ImageFont.FreeTypeFont, str]]) -> float:
        return sum(font.getlength(run) for font, run in runs)

    def _runs(self, text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        """Stretches of one font."""
        runs: list[tuple[ImageFont.FreeTypeFont, str]] = []
        # A Mac writes "ü" as "u" and a mark above: two letters, of which fonts may lack the second.
        for letter in unicodedata.normalize("NFC", text):
            font = self._font_of(letter)
            if font is None:
                code = ord(letter)
                letter = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
                font = self._fonts[0]
            if runs and runs[-1][0] is font:
                runs[-1] = font, runs[-1][1] + letter
            else:
                runs.append((font, letter))
        return runs

    def _font_of(self, letter: str) -> ImageFont.FreeTypeFont | None:
        if letter not in self._chosen:
            self._chosen[letter] = next((font for font in self._all_fonts() if _has(font, letter)), None)
        return self._chosen[letter]

    def _all_fonts(self) -> Iterator[ImageFont.FreeTypeFont]:
        yield from self._fonts
        if self._unopened is None:
            self._unopened = iter(_installed() if self._paths is None else self._paths)
        for path in self._unopened:
            try:
                font = ImageFont.truetype(str(path), self._size)
            except (OSError, ValueError):
                continue
            self._fonts.append(font)
            yield font


def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether a font has a letter: what it lacks it draws as it draws what is no letter at all."""
    if letter.isspace():
        return letter == " "
    try:
        mask, none = font.getmask(letter), _no_letter(font)
    except (OSError, ValueError):
        return False
    return bool(mask.size[0]) and (mask.size, bytes(mask)) != none


@functools.lru_cache(maxsize=_MOST_FONTS)
def _no_letter(font: ImageFont.FreeTypeFont) -> tuple:
    mask = font.getmask("\U0010fffe")
    return mask.size, bytes(mask)
