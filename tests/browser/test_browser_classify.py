"""Classify in a real browser, against the real server and models; the oracle is the command line."""

import csv
import io
import json
import re

import psutil
import pytest
from PIL import Image

from cifar_model.classes import CLASS_NAMES
from cifar_model.pictures.decode import decode_image
from cifar_model.pictures.fit import fit_image
from cifar_model.storage import assets_dir
from cifar_model.text import percent
from tests.browser.looking import needs_no_sideways_scrolling, see, see_number, see_pixels, see_text

SAMPLES = assets_dir() / "samples"
BROKEN = b"\xff\xd8\xff\xe0 no picture after all"

pytestmark = pytest.mark.skipif(
    not (assets_dir() / "models" / "lab-net").exists(), reason="no bundled model in this checkout"
)


def heading(class_name, probability):
    return f"{class_name} · {percent(probability)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 pictures of the ten samples, turned and cut, with one broken file and a stranger among them."""
    folder = tmp_path_factory.mktemp("drop") / "holiday"
    folder.mkdir()
    for i in range(29):
        picture = decode_image(SAMPLES / f"{CLASS_NAMES[i % 10]}.webp").rotate(4 * (i // 10), fillcolor="white")
        picture.save(folder / f"picture-{i:02d}.jpg", quality=90)
    (folder / "picture-29-broken.jpg").write_bytes(BROKEN)
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def answers(command_line, folder):
    """What the command line answers to the samples and to the folder: {file name: (class, probability)}."""
    pictures = [*SAMPLES.glob("*.webp"), *(f for f in folder.glob("*.jpg") if "broken" not in f.name)]
    rows = list(csv.DictReader(io.StringIO(command_line("classify", "--csv", "-", *pictures))))
    return {re.split(r"[\\/]", row["file"])[-1]: (row["class"], float(row["probability"])) for row in rows}


@pytest.fixture
def opened(page, server, wait_idle):
    page.goto(server.url)
    page.wait_for_selector("h3", timeout=180_000)
    wait_idle(page)
    return page


def test_landing_shows_ten_samples_and_one_click_classifies_one(opened, answers):
    tiles = opened.get_by_role("group", name="Sample photographs").get_by_role("button")
    tiles.nth(9).wait_for()
    see_number(tiles, 10)
    see(opened.locator("h3", has_text=heading(*answers["dog.webp"])))
    for name in ("horse", "frog"):
        opened.get_by_role("button", name=name).click()
        see(opened.locator("h3", has_text=heading(*answers[f"{name}.webp"])))
        bars = opened.get_by_label(re.compile("Probabilities by"))
        see_number(bars.locator("li"), 10)
        see(bars.locator("li.first", has_text=percent(answers[f"{name}.webp"][1])))


def test_dropped_jpeg_gives_its_class_and_goes_along_to_blend(opened, drop_files, folder, answers):
    drop_files(opened, [folder / "picture-17.jpg"])
    see(opened.locator("h3", has_text=heading(*answers["picture-17.jpg"])))
    see_number(opened.get_by_text("What arrived: picture-17.jpg"), 1)
    opened.get_by_role("button", name="Use in Blend").click()
    opened.get_by_text("as the second image").click()
    see(opened.get_by_role("button", name="Second: picture-17.jpg"))
    see(opened.locator("output.recipe", has_text="40 % cat + 60 % picture-17.jpg"))


def test_folder_of_thirty_with_a_broken_file(opened, drop_files, folder, answers):
    drop_files(opened, [folder])
    see(opened.get_by_role("button", name="Download the table (CSV)"), timeout=60_000)
    see_number(opened.get_by_text("1 of 30 files can't be read"), 1)
    see_number(opened.get_by_text("Left out: 1 file, no picture (notes.txt)."), 1)
    see_number(opened.get_by_role("alert").filter(has_text="picture-29-broken.jpg"), 1)
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download the table (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(open(download.value.path(), encoding="utf-8-sig").read())))
    assert len(rows) == 30
    for row in rows:
        if "broken" in row["file"]:
            assert row["class"] == "" and "can't be decoded" in row["error"]
        else:
            name, probability = answers[row["file"]]
            assert row["class"] == name and float(row["probability"]) == pytest.approx(probability, abs=1e-5)

    opened.get_by_text("least sure first").click()
    gallery = opened.get_by_role("group", name="Pictures and their answers")
    unsure = min(v[1] for k, v in answers.items() if k.endswith(".jpg"))
    see(gallery.locator("button").first.get_by_text(percent(unsure)))
    see_number(gallery.locator("button.tile"), 24)
    tile = gallery.locator("button.tile").nth(3)
    name = tile.locator(".note").inner_text()
    tile.click()
    see(gallery.locator("button[aria-pressed=true] .note", has_text=name))
    see(opened.get_by_text(f"What arrived: {name}"))


def test_square_moves_and_the_network_sees_its_exact_pixels(opened, drop_files, wait_idle, folder):
    drop_files(opened, [folder / "picture-09.jpg"])  # the truck, 640 × 265
    see(opened.get_by_text("What arrived: picture-09.jpg"))
    wait_idle(opened)  # until then the picture before it is still there, below
    picture = decode_image(folder / "picture-09.jpg")
    canvas = opened.get_by_label("What the network sees: 32 × 32 pixels")
    see_pixels(canvas, fit_image(picture))
    slider = opened.get_by_label("Move the square")
    slider.focus()
    slider.press("End")
    see_pixels(canvas, fit_image(picture, position=(1, 1)))
    box = opened.locator(".stage").bounding_box()
    y = box["y"] + box["height"] / 2
    opened.mouse.move(box["x"] + box["width"] - 10, y)
    opened.mouse.down()
    opened.mouse.move(box["x"] - 200, y, steps=5)
    opened.mouse.up()
    see_pixels(canvas, fit_image(picture, position=(0, 0)))


def test_two_models_answer_side_by_side(page, server, second_model, answers):
    page.goto(server.url)
    page.get_by_role("button", name="Options").click()
    page.get_by_role("combobox", name="Compare with").click()
    page.get_by_role("option", name=second_model).click()
    page.locator("h3").nth(1).wait_for(timeout=60_000)
    see_text(page.locator("h3").first, heading(*answers["dog.webp"]))
    see_number(page.get_by_label(re.compile("Probabilities by")), 2)


def is_worker(process):
    try:
        return "cifar_model.app.workers.jobs" in process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended, or been killed and not yet waited for
        return False


def test_answers_go_on_after_the_processes_died(opened, server, answers, drop_files, folder):
    def workers():
        below = psutil.Process(server.process.pid).children(recursive=True)  # it may be make that started the app
        return [child for child in below if is_worker(child)]

    before = {worker.pid for worker in workers()}
    assert before  # those that decode; that with TensorFlow too, until the networks are compiled
    for worker in workers():
        worker.kill()
    opened.get_by_role("button", name="horse").click()
    see(opened.locator("h3", has_text=heading(*answers["horse.webp"])), timeout=240_000)
    drop_files(opened, [folder / "picture-06.jpg"])
    see(opened.locator("h3", has_text=heading(*answers["picture-06.jpg"])), timeout=240_000)
    assert workers() and not before & {worker.pid for worker in workers()}


def test_two_visitors_see_their_own_pictures(new_page, server, drop_files, folder, answers):
    pages = [new_page(), new_page()]
    names = ("picture-06.jpg", "picture-07.jpg")
    for page in pages:
        page.goto(server.url)
    for page, name in zip(pages, names, strict=True):
        page.wait_for_selector("h3", timeout=60_000)
        drop_files(page, [folder / name])
    for page, name in zip(pages, names, strict=True):
        see(page.locator("h3", has_text=heading(*answers[name])))
        page.get_by_text(f"What arrived: {name}").wait_for()


@pytest.mark.parametrize("page_name", ["", "blend"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_needs_no_sideways_scrolling(new_page, server, wait_idle, page_name, scheme):
    page = new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(f"{server.url}/{page_name}")
    page.wait_for_selector("h1", timeout=60_000)
    wait_idle(page)
    needs_no_sideways_scrolling(page)
    background = page.locator(".stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_json_of_the_command_line_is_what_the_page_shows(opened, command_line):
    (said,) = json.loads(command_line("classify", "--json", SAMPLES / "dog.webp"))["answers"]
    see(opened.locator("h3", has_text=heading(said["class"], said["probability"])))
    bars = opened.get_by_label(re.compile("Probabilities by")).locator("li")
    see_text(bars, [f"{name} {percent(said['probabilities'][name])}" for name in CLASS_NAMES])


def test_own_pictures_survive_samples_pages_and_other_ways_in(opened, drop_files, wait_idle, folder, answers):
    drop_files(opened, [folder / "picture-06.jpg", folder / "picture-07.jpg"])
    own = opened.get_by_role("group", name="Your pictures").locator("button.tile")
    see(opened.locator("h3", has_text=heading(*answers["picture-06.jpg"])))
    own.nth(1).wait_for()  # the strip is drawn beside the answer, not before it
    see_number(own, 2)
    opened.get_by_role("button", name="horse", exact=True).first.click()
    see(opened.locator("h3", has_text=heading(*answers["horse.webp"])))
    for way in ("Camera", "Files"):
        opened.get_by_test_id("stButtonGroup").get_by_text(way, exact=True).click()
        wait_idle(opened)
    opened.get_by_role("link", name="Blend").first.click()
    see(opened.locator("output.recipe"))
    opened.get_by_role("link", name="Classify").first.click()
    own.nth(1).wait_for()
    see_number(own, 2)
    own.nth(1).click()
    see(opened.locator("h3", has_text=heading(*answers["picture-07.jpg"])))
    opened.get_by_role("group", name="Your pictures").get_by_role("button", name="Remove picture-06.jpg").click()
    own.nth(1).wait_for(state="detached")
    see_number(own, 1)


def test_what_a_browser_would_refuse_by_its_name_gets_a_message(opened, drop_files, tmp_path):
    file = tmp_path / "letter"
    file.write_bytes(b"%PDF-1.7")
    drop_files(opened, [file])
    see(opened.get_by_role("alert").filter(has_text="letter: this is a PDF document"))


def test_a_lot_beyond_the_limit_is_cut_and_told(opened, drop_files, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(203):
        Image.new("RGB", (40, 40), (number, 90, 60)).save(many / f"{number:03}.png")
    drop_files(opened, [many])
    opened.get_by_text("Left out: 3 files beyond").wait_for(timeout=90_000)
    opened.get_by_text("200 pictures", exact=True).wait_for()
    drop_files(opened, [many / "001.png"])
    opened.get_by_text("Left out: 1 file beyond").wait_for()
