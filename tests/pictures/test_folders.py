"""Picture files in folders: by content, in natural order, without the litter of operating systems."""

import numpy as np
import pytest
from helpers import encode

from cifar_model.errors import ImageError
from cifar_model.pictures.folders import distinct_names, find_images, is_litter, natural_key

PICTURE = encode(np.full((8, 8, 3), 90, np.uint8))


def fill(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def below(folder, paths):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_find_images(tmp_path):
    fill(tmp_path, dict.fromkeys(("b.png", "a.JPG", "deep/er/c.webp", "notes.txt", ".hidden.png", "deep/d.tiff"), b""))
    found = find_images([tmp_path, tmp_path / "b.png"])
    assert below(tmp_path, found) == ["a.JPG", "b.png", "deep/d.tiff", "deep/er/c.webp"]
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]  # as named
    for missing in ("missing.png", "nul\0.png"):
        with pytest.raises(ImageError, match="Check the name"):
            find_images([tmp_path / missing])


def test_content_decides_and_what_is_left_out_is_told(tmp_path):
    files = {"no suffix": PICTURE, "report.pdf": PICTURE, "photo.HEIC": b"", "true.pdf": b"%PDF-1.7", "notes": b"hello"}
    fill(tmp_path, files)
    left_out = []
    found = find_images([tmp_path], on_left_out=left_out.append)
    assert below(tmp_path, found) == ["no suffix", "photo.HEIC", "report.pdf"]
    assert below(tmp_path, left_out) == ["notes", "true.pdf"]


def test_litter_is_passed_over_without_a_word(tmp_path):
    litter = ("._p.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/p.jpg", ".cache/p.jpg", "@eaDir/p.jpg")
    fill(tmp_path, dict.fromkeys((*litter, "p.jpg"), PICTURE))
    left_out = []
    assert below(tmp_path, find_images([tmp_path], on_left_out=left_out.append)) == ["p.jpg"]
    assert not left_out
    assert is_litter("._p.jpg") and not is_litter("p.jpg")


def test_order_is_that_of_a_person(tmp_path):
    names = ["IMG11.png", "img1.png", "img10.png", "img2.png", "a/img3.png", "img002.png"]
    fill(tmp_path, dict.fromkeys(names, PICTURE))
    assert below(tmp_path, find_images([tmp_path])) == [
        "a/img3.png", "img1.png", "img002.png", "img2.png", "img10.png", "IMG11.png",
    ]  # fmt: skip
    assert sorted(["9" * 5000, "2", "x", "10", ""], key=natural_key) == ["", "2", "10", "9" * 5000, "x"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/p.jpg", "b/q.jpg"], ["p.jpg", "q.jpg"]),
        (["x/one/p.jpg", "x/two/p.jpg", "x/q.jpg"], ["one/p.jpg", "two/p.jpg", "q.jpg"]),
        (["a/x/p.jpg", "b/x/p.jpg", "p.jpg"], ["a/x/p.jpg", "b/x/p.jpg", "p.jpg"]),
        (["p.jpg", "p.jpg"], ["p.jpg", "p.jpg"]),
        ([], []),
    ],
)
def test_equal_names_are_told_apart_by_their_folders(paths, names):
    assert distinct_names(paths) == names
