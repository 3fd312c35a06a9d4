"""What a visitor drops in: told by content, in natural order, with a word on how it was read."""

import io

import numpy as np
import pillow_heif
from app_fakes import jpeg, lab, upload, words  # noqa: F401
from helpers import encode
from PIL import Image

from cifar_model.app.classify.own import Own

PICTURE = encode(np.full((8, 8, 3), 90, np.uint8))


def names(own):
    return [entry.name for entry in own.entries()]


def test_a_folder_is_taken_in_by_content():
    own = Own()
    files = {
        "f/IMG11": PICTURE, "f/img2.png": PICTURE, "f/img10.HEIC": jpeg("red"), "f/one/p.jpg": PICTURE,
        "f/two/p.jpg": PICTURE, "f/._p.jpg": PICTURE, "f/Thumbs.db": b"\xd0\xcf", "f/.DS_Store": b"x",
        "f/notes.txt": b"hello", "f/album.db": PICTURE, "f/empty.png": b"",
    }  # fmt: skip
    own.add((str(i), name, data) for i, (name, data) in enumerate(files.items()))
    assert names(own) == [
        "album.db", "empty.png", "img2.png", "img10.HEIC", "IMG11", "one/p.jpg", "two/p.jpg",
    ]  # fmt: skip
    assert own.left_out == ["f/notes.txt"]


def test_equal_names_without_folders_are_numbered():
    own = Own()
    own.add([("a", "p.jpg", PICTURE), ("b", "p.jpg", PICTURE), ("c", "q.jpg", PICTURE)])
    assert names(own) == ["p.jpg", "p.jpg (2)", "q.jpg"]


def test_an_empty_upload_is_called_an_empty_file(lab):  # noqa: F811
    at = upload(lab.open(), ("holiday.png", b""))
    assert not at.exception
    assert any("holiday.png: this is an empty file (0 bytes)" in error.value for error in at.error)


def test_a_heic_photograph_and_one_of_12_bits_are_answered(lab):  # noqa: F811
    file, deep = io.BytesIO(), io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (60, 40), "teal")).save(file)
    Image.fromarray(np.linspace(0, 4095, 1024).reshape(32, 32).astype(np.uint16)).save(deep, "PNG")
    at = upload(lab.open(), ("IMG_0001.HEIC", file.getvalue()))
    assert not at.exception and not at.error and "bits" not in words(at)
    at = upload(lab.open(), ("depth.png", deep.getvalue()))
    assert not at.exception and not at.error
    assert "12 of 16 bits" in words(at)
