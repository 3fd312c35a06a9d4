"""Live in a real browser with a made-up camera; the oracle is the command line on the same pictures."""

import csv
import io
import re
import shutil
from base64 import b64decode, b64encode

import numpy as np
import pytest
from browser.conftest import BROWSER_ARGS, BROWSERS
from PIL import Image, ImageEnhance

from benchmarks._film import camera_args, camera_picture, write_film
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.card import load_card
from cifar_model.pictures.fit import fit_image, load_image
from cifar_model.pictures.mix import MODES, blend
from cifar_model.storage import assets_dir
from cifar_model.trust.answer_sets import LEVELS, answer_sets, describe_set
from cifar_model.trust.calibration import calibrate
from cifar_model.trust.scope import scope_score
from tests.browser.looking import see_pixels, until, wait_for_silence

MODEL = assets_dir() / "models" / "lab-net"
SAMPLES = assets_dir() / "samples"
pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="no bundled model in this checkout")

LONG = 300_000  # milliseconds: the first visitor waits until the network is made, TensorFlow's start included
SHOWN = """async root => {
    const { shown } = await root.page;
    return shown && { ...shown, pixels: [...shown.pixels] };
}"""
FILES = "component/cifar_model.app.browser.files.live/"


def shown_on(page) -> dict | None:
    """The last answer on the screen: pixels int (32, 32, 3), latest, calibrated, members, outside, source."""
    shown = page.locator(".live").evaluate(SHOWN)
    return shown and shown | {"pixels": np.array(shown["pixels"], int).reshape(32, 32, 3)}


def open_live(page, server):
    """The page, with the network ready."""
    page.goto(f"{server.url}/live")
    page.locator(".live[data-ready]").wait_for(timeout=LONG)
    return page


def wait_for(page, ready, what: str, seconds: float = 60):
    """Look at the last answer until it is the one that is waited for; returns it."""
    for _ in range(int(seconds * 10)):
        shown = shown_on(page)
        if shown and ready(shown):
            return shown
        page.wait_for_timeout(100)
    raise AssertionError(f"{what} did not come")


@pytest.fixture(scope="module")
def camera_browser(browser, tmp_path_factory):
    """A Chromium whose camera shows the ten samples in turn, a second each; lab.test is this machine, too."""
    film = tmp_path_factory.mktemp("camera") / "samples.y4m"
    write_film(film, [camera_picture(name) for name in CLASS_NAMES], rate=1)
    args = [
        arg.replace("MAP * ~NOTFOUND", "MAP lab.test 127.0.0.1, MAP * ~NOTFOUND")
        for arg in [*BROWSER_ARGS, *camera_args(film)]
    ]
    executable = next(filter(None, map(shutil.which, BROWSERS)))
    chromium = browser.browser_type.launch(executable_path=executable, headless=True, args=args)
    yield chromium
    chromium.close()


@pytest.fixture
def camera_page(camera_browser):
    """A visitor with that camera, who has allowed it unless told otherwise."""
    contexts = []

    def open_page(allowed=True, **options):
        context = camera_browser.new_context(permissions=["camera"] if allowed else [], **options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def oracle(command_line, tmp_path_factory):
    """The command line's raw softmax, float32 (10,), for each sample and for each picture of the camera's film."""
    folder = tmp_path_factory.mktemp("oracle")
    for name in CLASS_NAMES:
        camera_picture(name).save(folder / f"camera-{name}.png")
    command_line("classify", SAMPLES, folder, "--raw", "--csv", folder / "answers.csv")
    rows = csv.DictReader(io.StringIO((folder / "answers.csv").read_text("utf-8-sig")))
    return {
        re.split(r"[/\\]", row["file"])[-1].partition(".")[0]: np.array([row[name] for name in CLASS_NAMES], np.float32)
        for row in rows
    }


def test_numbers_are_the_servers(page, server, command_line, tmp_path):
    """The same pixels by the command line: a browser decodes and shrinks a photograph almost as Pillow does."""
    card, read = load_card(MODEL), {}
    open_live(page, server)
    page.get_by_role("button", name="Picture", exact=True).click()
    for name in CLASS_NAMES:
        page.locator(f".samples [data-name={name}]").click()
        shown = wait_for(page, lambda shown, name=name: shown["source"] == name, f"the answer to {name}")
        pixels = load_image(SAMPLES / f"{name}.webp").astype(int)
        assert np.abs(shown["pixels"] - pixels).max() <= 2, name
        Image.fromarray(np.asarray(shown["pixels"], np.uint8)).save(tmp_path / f"{name}.png")
        read[name] = shown | {part: page.locator(f".{part}").inner_text() for part in ("winner", "verdict")}
    rows = command_line("classify", tmp_path, "--raw", "--csv", "-")
    for row in csv.DictReader(io.StringIO(rows)):
        name = re.split(r"[/\\]", row["file"])[-1].partition(".")[0]
        shown = read.pop(name)
        raw = np.array([row[each] for each in CLASS_NAMES], np.float32)
        calibrated = calibrate(raw[None], card["calibration"])
        np.testing.assert_allclose(shown["latest"], raw, atol=0.001, err_msg=name)
        np.testing.assert_allclose(shown["calibrated"], calibrated[0], atol=0.001, err_msg=name)
        members = answer_sets(calibrated, card["sets"], 95)[0]
        assert shown["members"] == np.flatnonzero(members).tolist(), name
        assert shown["winner"].startswith(f"{CLASS_NAMES[int(calibrated[0].argmax())]} · ")
        assert shown["verdict"] == f"Set: {describe_set(members, 95)}"
    assert not read


@pytest.fixture
def engine(page, server):
    """A function that runs a script with what modules of the engine export, in a page of the app's."""
    open_live(page, server)

    def run(module: str, script: str, argument):
        code = f"async argument => {{ const engine = await import('{server.url}/{FILES}{module}'); {script} }}"
        return page.evaluate(code, argument)

    return run


def test_engine_mixes_and_reads_as_the_server(engine):
    a, b = load_image(SAMPLES / "cat.webp"), load_image(SAMPLES / "dog.webp")
    script = """const [a, b, ratio, way] = argument;
        return [...engine.mix(Uint8Array.from(a), Uint8Array.from(b), ratio, way)];"""
    for way in MODES:
        for ratio in (0, 0.01, 0.5, 0.77, 1):
            mixed = engine("mix.js", script, [a.ravel().tolist(), b.ravel().tolist(), ratio, way])
            np.testing.assert_array_equal(np.reshape(mixed, (32, 32, 3)), blend(a, b, ratio, mode=way))

    card, raw = load_card(MODEL), np.random.default_rng(0).dirichlet(np.full(10, 0.2), 100).astype(np.float32)
    script = """const [rows, card, names] = argument;
        return rows.map((raw) => {
            const calibrated = engine.calibrate(raw, card.calibration);
            const sets = [90, 95, 99].map((level) => engine.answerSet(calibrated, card.sets, level));
            const scope = { score: "generalisedEntropy", threshold: 0.2 };
            const [outside, unknown] = [scope, null].map((one) => engine.isOutside(raw, one));
            return { calibrated, sets, outside, unknown, said: engine.setInWords(sets[1], names, 95) };
        });"""
    read = engine("trust.js", script, [raw.tolist(), card, CLASS_NAMES])
    calibrated = calibrate(raw, card["calibration"])
    np.testing.assert_allclose([row["calibrated"] for row in read], calibrated, atol=1e-6)
    for number, level in enumerate(LEVELS):
        members = answer_sets(calibrated, card["sets"], level)
        assert [row["sets"][number] for row in read] == [np.flatnonzero(row).tolist() for row in members]
    assert [row["said"] for row in read] == [describe_set(row, 95) for row in answer_sets(calibrated, card["sets"], 95)]
    assert [row["outside"] for row in read] == (scope_score(raw) < 0.2).tolist()
    assert {row["unknown"] for row in read} == {None}


def test_engine_fits_any_picture_as_the_server(engine):
    """Long, wide, large ones that are reduced first, and one that the square's place matters for."""
    script = """const { file, x, y } = argument;
        const blob = await (await fetch(`data:image/png;base64,${file}`)).blob();
        return [...(await engine.openPicture(blob, "picture")).look(x, y, 0)];"""
    rng = np.random.default_rng(0)
    for width, height in ((33, 40), (32, 32), (45, 300), (1300, 700), (1100, 2300)):
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file, "PNG")
        for x, y in ((0.5, 0.5), (0.13, 0.87)):
            fitted = engine("sources.js", script, {"file": b64encode(file.getvalue()).decode(), "x": x, "y": y})
            expected = load_image(file.getvalue(), position=(x, y)).astype(int)
            assert np.abs(np.reshape(fitted, (32, 32, 3)) - expected).max() <= 2, (width, height, x, y)


def test_engine_distorts_as_it_says(engine):
    picture = load_image(SAMPLES / "cat.webp")
    script = "return [...engine.distort(Uint8Array.from(argument[0]), { ...engine.PLAIN, ...argument[1] })];"

    def distorted(**setting) -> np.ndarray:
        return np.reshape(engine("distort.js", script, [picture.ravel().tolist(), setting]), (32, 32, 3)).astype(int)

    np.testing.assert_array_equal(distorted(), picture)
    for name, enhance in (("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast)):
        for factor in (0, 0.4, 1.6):
            expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factor)).astype(int)
            assert np.abs(distorted(**{name: factor}) - expected).max() <= 1
    distance = np.abs(np.subtract.outer(np.arange(32), np.arange(-9, 41)))
    kernel = np.where(distance <= 6, np.exp(-(distance**2) / (2 * 2.0**2)), 0)
    kernel = (kernel / kernel.sum(1, keepdims=True)) @ np.eye(32)[np.clip(np.arange(-9, 41), 0, 31)]
    expected = np.einsum("yi,xj,ijc->yxc", kernel, kernel, picture.astype(float))
    assert np.abs(distorted(blur=2) - expected).max() <= 1
    patched = distorted(patch=6, x=1, y=0.5)
    assert (patched[13:19, 26:] == 128).all()
    patched[13:19, 26:] = picture[13:19, 26:]
    np.testing.assert_array_equal(patched, picture)


def test_camera_shows_what_the_server_would_say_and_sends_nothing(camera_page, server, oracle):
    said = {name: CLASS_NAMES[int(oracle[f"camera-{name}"].argmax())] for name in CLASS_NAMES}
    expected = {name: fit_image(camera_picture(name)).astype(int) for name in CLASS_NAMES}
    page, traffic = camera_page(viewport={"width": 390, "height": 844}), []

    def listen(socket):
        socket.on("framesent", lambda frame: traffic.append(frame))
        socket.on("framereceived", lambda frame: traffic.append(frame))

    page.on("websocket", listen)
    open_live(page, server)
    page.get_by_role("button", name="Start the camera").click()
    wait_for(page, lambda shown: shown["source"] == "the camera", "the camera's first answer")
    page.get_by_role("button", name="Mirror").click()  # a front camera's picture is mirrored
    wait_for_silence(page, traffic)
    page.on("request", lambda request: traffic.append(request.url))
    seen = {}
    for _ in range(900):
        shown = shown_on(page)
        away = {name: np.abs(shown["pixels"] - picture).mean() for name, picture in expected.items()}
        name = min(away, key=away.get)
        if away[name] < 2:  # the film's colours are rounded; two different samples are 40 apart
            seen[name] = CLASS_NAMES[int(np.argmax(shown["calibrated"]))]
        if len(seen) == len(CLASS_NAMES):
            break
        page.wait_for_timeout(50)
    assert seen == said
    assert not traffic  # not one message, not one request, while ten pictures were answered
    assert " a second · " in page.locator(".rate").inner_text()

    # One screen of a telephone holds it all.
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight") <= 844
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    # The camera's light goes out with the page.
    page.locator(".live video").evaluate("video => { window.track = video.srcObject.getVideoTracks()[0]; }")
    assert page.evaluate("window.track.readyState") == "live"
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Models").click()
    page.wait_for_function("window.track.readyState === 'ended'")


def test_no_click_is_lost_while_the_page_is_still_loading(camera_page, server):
    page = camera_page()

    def late(route):
        page.wait_for_timeout(1500)
        route.continue_()

    page.route("**/page.js*", late)
    page.goto(f"{server.url}/live")
    page.get_by_role("button", name="Start the camera").click(timeout=LONG)
    wait_for(page, lambda shown: shown["source"] == "the camera", "the camera's first answer")


def test_a_picture_frozen_between_two_of_the_camera_is_answered(camera_page, server):
    page = camera_page()
    page.add_init_script("""{
        const usual = HTMLVideoElement.prototype.requestVideoFrameCallback; // a camera of two pictures a second
        HTMLVideoElement.prototype.requestVideoFrameCallback = function (told) {
            return usual.call(this, (...about) => setTimeout(told, 450, ...about));
        };
    }""")
    open_live(page, server)
    page.get_by_role("button", name="Start the camera").click()
    wait_for(page, lambda shown: shown["source"] == "the camera", "the camera's first answer")
    for _ in range(3):
        page.get_by_role("button", name="Freeze").click()
        page.locator(".rate", has_text=re.compile(r"^\d+ ms")).wait_for()
        page.get_by_role("button", name="Freeze").click()
        page.locator(".rate", has_text="a second").wait_for()


def test_freeze_blend_and_fool(camera_page, server):
    page = camera_page()
    open_live(page, server)
    page.get_by_role("button", name="Start the camera").click()
    wait_for(page, lambda shown: shown["source"] == "the camera", "the camera's first answer")
    page.get_by_role("button", name="Mirror").click()
    page.get_by_role("button", name="Freeze").click()
    page.locator(".rate", has_text=re.compile(r"^\d+ ms")).wait_for()
    plain = shown_on(page)["pixels"]

    page.get_by_role("button", name="Blend", exact=True).click()
    page.locator(".partners [data-name=cat]").click()
    page.get_by_text("60 % your picture + 40 % cat").wait_for()
    cat = load_image(SAMPLES / "cat.webp")
    mixed = blend(plain.astype(np.uint8), cat, 0.6)
    wait_for(page, lambda shown: (shown["pixels"] == mixed).all(), "the mix")
    page.locator("select.way").select_option("halves")
    mixed = blend(plain.astype(np.uint8), cat, 0.6, mode="halves")
    wait_for(page, lambda shown: (shown["pixels"] == mixed).all(), "the halves")
    page.get_by_role("button", name="Reset").click()
    wait_for(page, lambda shown: (shown["pixels"] == plain).all(), "the plain picture")

    page.get_by_role("button", name="Fool it").click()
    slider = page.locator("input[data-setting=patch]")
    slider.focus()
    for _ in range(8):
        slider.press("ArrowRight")
    patched = plain.copy()
    patched[12:20, 12:20] = 128
    wait_for(page, lambda shown: (shown["pixels"] == patched).all(), "the patch")
    box = page.locator("canvas.seen").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + 2, steps=4)
    page.mouse.up()
    corner = plain.copy()
    corner[:8, :8] = 128
    wait_for(page, lambda shown: (shown["pixels"] == corner).all(), "the moved patch")

    # The picture stands still: below each slider grows a strip of the classes that it would give.
    done = "canvas => canvas.getContext('2d').getImageData(0, 0, 33, 1).data[131] === 255"
    strip = page.locator("label:has(input[data-setting=patch]) canvas.tips")

    def grown():
        assert strip.evaluate(done)

    until(page, grown, 60_000)
    page.get_by_role("button", name="Freeze").click()
    page.locator(".rate", has_text="a second").wait_for()


def test_take_along_to_classify_and_blend(camera_page, server):
    page = camera_page()
    open_live(page, server)
    page.get_by_role("button", name="Picture", exact=True).click()
    page.locator(".samples [data-name=horse]").click()
    shown = wait_for(page, lambda shown: shown["source"] == "horse", "the answer to the horse")
    best = CLASS_NAMES[int(np.argmax(shown["calibrated"]))]
    page.get_by_role("button", name="Take along").click()
    page.get_by_role("button", name="to Classify").click()
    page.get_by_text(re.compile(r"What arrived: live-\d{6}\.png, 360 × 360 pixels")).wait_for(timeout=LONG)
    page.get_by_role("heading", name=re.compile(f"^{best} · ")).wait_for(timeout=LONG)

    open_live(page, server)
    page.get_by_role("button", name="Picture", exact=True).click()
    page.locator(".samples [data-name=frog]").click()
    wait_for(page, lambda shown: shown["source"] == "frog", "the answer to the frog")
    page.get_by_role("button", name="Blend", exact=True).click()
    page.locator(".partners [data-name=ship]").click()
    frog, ship = (load_image(SAMPLES / f"{name}.webp").astype(int) for name in ("frog", "ship"))
    mixed = 0.6 * frog + 0.4 * ship
    shown = wait_for(page, lambda shown: np.abs(shown["pixels"] - mixed).max() < 3, "the mix")
    page.get_by_role("button", name="Take along").click()
    page.get_by_role("button", name="to Blend, as the second picture").click()
    page.locator("output.recipe", has_text=re.compile(r"40 % cat \+ 60 % live-\d{6}\.png")).wait_for(timeout=LONG)
    cat = load_image(SAMPLES / "cat.webp")
    expected = blend(cat, shown["pixels"].astype(np.uint8), 0.4)  # of what the network saw, to the pixel
    see_pixels(page.locator("canvas.mix"), expected)


def test_a_video_file_and_the_screen(camera_page, server, tmp_path):
    page = camera_page()
    page.add_init_script("""navigator.mediaDevices.getDisplayMedia = async () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [1600, 1000];
        const context = canvas.getContext("2d");
        setInterval(() => { context.fillStyle = "#20a040"; context.fillRect(0, 0, 1600, 1000); }, 50);
        return canvas.captureStream(20);
    };""")  # a headless browser has no screen to share
    open_live(page, server)
    recorded = page.evaluate("""async () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [320, 240];
        const context = canvas.getContext("2d");
        const draw = () => { context.fillStyle = "#c03020"; context.fillRect(0, 0, 320, 240); };
        draw();
        const timer = setInterval(draw, 40);
        const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/webm" });
        const parts = [];
        recorder.ondataavailable = (event) => parts.push(event.data);
        recorder.start();
        await new Promise((resolve) => setTimeout(resolve, 1500));
        await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
        clearInterval(timer);
        const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    }""")
    video = tmp_path / "red.webm"
    video.write_bytes(b64decode(recorded))

    def shows(color, source):
        def right(shown):
            return shown["source"] == source and np.abs(shown["pixels"] - color).max() <= 12

        return right

    page.locator(".video-file").set_input_files(video)
    wait_for(page, shows((192, 48, 32), "red.webm"), "the video")
    page.get_by_role("button", name="Screen").click()
    wait_for(page, shows((32, 160, 64), "the screen"), "the screen")

    (tmp_path / "no.webm").write_bytes(b"no video")
    page.locator(".video-file").set_input_files(tmp_path / "no.webm")
    page.get_by_text("no.webm can't be played here.").wait_for()
    (tmp_path / "no.png").write_bytes(b"no picture")
    page.locator(".picture-file").set_input_files(tmp_path / "no.png")
    page.get_by_text("no.png can't be opened by this browser.").wait_for()


def test_a_refused_camera_and_none_at_all(camera_page, page, server):
    refused = camera_page(allowed=False)
    open_live(refused, server)
    refused.get_by_role("button", name="Start the camera").click()
    refused.get_by_text("The camera was refused.").wait_for()
    refused.get_by_text("or use a picture, a video file or your screen").wait_for()

    page.context.grant_permissions(["camera"])
    open_live(page, server)
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("No camera was found.").wait_for()


def test_plain_http_on_another_host_answers_pictures(camera_page, server):
    page = camera_page()
    page.goto(f"{server.url.replace('127.0.0.1', 'lab.test')}/live")
    page.locator(".live[data-ready]").wait_for(timeout=LONG)
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("The camera needs a secure page.").wait_for()
    page.get_by_role("button", name="Picture", exact=True).click()
    page.locator(".samples [data-name=ship]").click()
    wait_for(page, lambda shown: shown["source"] == "ship", "the answer to the ship")


def test_a_browser_without_simd_is_told_the_next_best_way(page, server):
    page.add_init_script("WebAssembly.validate = () => false")
    page.goto(f"{server.url}/live")
    page.get_by_text("This browser can't run the network itself.").wait_for(timeout=LONG)
    page.get_by_text("Classify takes pictures from the camera, too").wait_for()


def test_another_model_answers_and_is_fetched_once(page, server, second_model):
    fetched = []
    page.on("request", lambda request: fetched.append(request.url) if request.url.endswith(".tflite") else None)
    open_live(page, server)
    page.get_by_test_id("stSelectbox").locator("input").click()
    page.get_by_role("option", name=second_model).click()
    page.locator(f".live[data-ready={second_model}]").wait_for(timeout=LONG)
    assert len(fetched) == 2
    page.get_by_role("button", name="Picture", exact=True).click()
    page.locator(".samples [data-name=cat]").click()
    wait_for(page, lambda shown: shown["source"] == "cat" and shown["members"] is not None, "its answer, with sets")
    open_live(page, server)
    assert len(fetched) == 2  # kept by the browser
