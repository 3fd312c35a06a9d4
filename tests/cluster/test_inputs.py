"""Which pictures are meant: compared with what the plain command finds, with Python's own patterns, and by hand."""

import csv
import errno
import glob
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import encode

from cifar_model.cluster import places
from cifar_model.cluster.inputs import find_inputs, load_input
from cifar_model.cluster.places import is_address, place_of
from cifar_model.errors import ImageError, LabError, SettingsError
from cifar_model.pictures.fit import load_picture
from cifar_model.pictures.folders import find_images

PIXELS = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Pictures by suffix and by content, a broken one, litter, and other files; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a 1.png", "deep/er/c.png", "deep/[d]%.png", "no suffix", ".hidden.png", "@eaDir/e.png"):
        file = tmp_path / "album" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(PIXELS))
    (tmp_path / "album" / "broken.jpg").write_bytes(b"")
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    return Path("album")


def found(*paths) -> list[str]:
    return [os.fsdecode(name) for name in find_inputs(map(str, paths)).names]


def test_a_folder_holds_what_the_plain_command_finds(album):
    inputs = find_inputs(["album"])
    assert sorted(map(os.fsdecode, inputs.names)) == sorted(map(str, find_images([album])))
    assert inputs.left_out == 1 and inputs.left_out_first == ["album/notes.txt"]
    assert inputs.seen == [os.path.abspath("album/a 1.png")]


def test_what_is_named_twice_is_listed_once(album):
    assert found("album/deep", "album/deep/er/c.png", "album/b.png") == [
        "album/deep/[d]%.png",
        "album/deep/er/c.png",
        "album/b.png",
    ]


@pytest.mark.parametrize("pattern", ["album/*.png", "album/**/*.png", "album/[ab]*", "album/**/er/*"])
def test_patterns_are_those_of_python(album, pattern):
    expected = sorted(file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file))
    assert expected and found(pattern) == expected
    at = found(f"file://{os.path.abspath(pattern)}")
    here = [os.path.relpath(place_of(one).path) for one in at]
    assert sorted(set(here) & set(expected)) == expected
    # Elsewhere there is neither litter nor hidden files.
    assert all("@eaDir" in one or ".hidden" in one for one in set(here) - set(expected))


def test_a_folder_at_an_address_is_searched_by_suffix(album):
    at = found(album.absolute().as_uri())
    assert all(is_address(name) for name in at)
    files = {os.path.relpath(place_of(name).path) for name in at}
    assert {"album/b.png", "album/a 1.png", "album/deep/er/c.png", "album/deep/[d]%.png", "album/broken.jpg"} <= files
    assert not {"album/notes.txt", "album/no suffix"} & files


@pytest.mark.parametrize("column", ["file", "path"])
def test_lists_name_pictures(album, column):
    names = ["album/b.png", "file:///x/y.png", "gone.png"]
    pq.write_table(pa.table({"class": ["a", "b", "c", "d"], column: [*names, None]}), "list.parquet")
    with open("list.csv", "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("class", column), *(("1", name) for name in names)])
    assert found("list.parquet") == found("list.csv") == names
    assert found(Path("list.csv").absolute().as_uri(), "*.parquet") == names


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "other.csv",
            b"name,size\na,1\n",
            "other.csv has the columns name, size. A list of pictures has",
        ),
        ("empty.csv", b"", "The list empty.csv can't be read"),
        ("torn.parquet", b"PAR1 torn", "The list torn.parquet can't be read"),
    ],
)
def test_lists_of_nothing_of_use(album, name, content, message):
    Path(name).write_bytes(content)
    with pytest.raises(LabError, match=re.escape(message)):
        find_inputs([name])


@pytest.mark.parametrize("path", ["gone.jpg", "gone/*.png", "file:///gone", "file:///gone/*.png"])
def test_nothing_there(album, path):
    with pytest.raises(SettingsError, match=re.escape(f"{path}: nothing lies there")):
        find_inputs(["album", path])


def test_file_systems_that_are_not_to_be_had(monkeypatch):
    with pytest.raises(SettingsError, match=r"http://x/ can't be opened: .*Allowed: s3://, gs://"):
        find_inputs(["http://x/y.jpg"])

    def unreachable(address):
        raise OSError("When resolving region for bucket 'b': AWS Error NETWORK_CONNECTION\nmore")

    monkeypatch.setattr("pyarrow.fs.FileSystem", SimpleNamespace(from_uri=unreachable))
    places._file_system.cache_clear()
    with pytest.raises(LabError, match="s3://b/ can't be opened: .*NETWORK_CONNECTION$"):
        find_inputs(["s3://b/pictures"])
    with pytest.raises(ImageError, match="s3://b/x.jpg: can't be read .*NETWORK_CONNECTION"):  # one of a list
        load_input("s3://b/x.jpg", "/")


def test_a_folder_that_can_t_be_read_fails_as_a_picture(album, monkeypatch):
    def closed(path, onerror):
        onerror(PermissionError(errno.EACCES, "Permission denied", "album/deep"))
        yield "album", [], ["b.png"]

    monkeypatch.setattr("os.walk", closed)
    assert found("album") == ["album/b.png", "album/deep"]
    with pytest.raises(ImageError, match="^album/deep: "):
        load_input("album/deep", os.getcwd())


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text(album):
    os.rename(b"album/b.png", b"album/\xff.png")
    assert b"album/\xff.png" in find_inputs(["album"]).names


def test_a_picture_is_read_as_everywhere(album, tmp_path):
    expected = load_picture("album/b.png")
    for name in ("album/b.png", (tmp_path / "album" / "b.png").as_uri()):
        pixels, notes = load_input(name, str(tmp_path))
        assert (pixels == expected[0]).all() and notes == expected[1]
    with pytest.raises(ImageError, match="^album/broken.jpg: this is an empty file"):
        load_input("album/broken.jpg", str(tmp_path))
    with pytest.raises(ImageError, match="^file:///gone.png: no such file"):
        load_input("file:///gone.png", "/")
    shutil.copyfile("album/b.png", "large.png")
    os.truncate("large.png", 21_000_000)
    with pytest.raises(ImageError, match="too large"):
        load_input((tmp_path / "large.png").as_uri(), "/")


def test_addresses_and_paths():
    assert is_address("s3://b/k") and not is_address("C:/x") and not is_address("a/b") and not is_address("://")
    place = place_of("file:///a%20b/c")
    assert place.path == "/a b/c" and place.address("/a b/ä") == "file:///a%20b/%C3%A4"
    assert place.child("x") == "/a b/c/x"
