"""Own pictures: what is taken in, in which order and by which names, and that nothing of it is lost."""

import gc
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from app_fakes import FakeWorker, belief, jpeg, lab, upload, words  # noqa: F401
from PIL import Image
from starlette.exceptions import HTTPException
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFile, UploadedFileRec

from cifar_model.app.classify.own import Own, unique_names
from cifar_model.app.shared import resources, uploads
from cifar_model.app.shared.uploads import MOST_FILES
from cifar_model.app.workers.prepare import prepare
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.folders import natural_key


def files(*names):
    return [(f"id-{name}", name, name.encode()) for name in names]


def strip(at):
    return [item["name"] for item in at.session_state["shown_own"][0]["items"]]


def test_natural_order():
    names = ["img10.jpg", "img2.jpg", "IMG1.jpg", "img02.jpg", "a.jpg", "img" + "9" * 5000 + ".jpg"]
    assert sorted(names, key=natural_key)[:4] == ["a.jpg", "IMG1.jpg", "img02.jpg", "img2.jpg"]
    assert sorted(names, key=natural_key)[-2:] == ["img10.jpg", "img" + "9" * 5000 + ".jpg"]


def test_equal_names_show_their_folder_or_a_number():
    assert unique_names(["a/x.jpg", "b/x.jpg", "b/y.jpg"]) == ["a/x.jpg", "b/x.jpg", "y.jpg"]
    assert unique_names(["x.jpg", "x.jpg", "x.jpg"]) == ["x.jpg", "x.jpg (2)", "x.jpg (3)"]


def test_by_catch_is_left_out_and_told_hidden_files_are_not():
    own = Own()
    added = own.add(files("b/._p.jpg", "b/.DS_Store", "Thumbs.db", "notes.txt", "p10.HEIC", "p9.jpg", "nosuffix"))
    assert [identity.removeprefix("id-") for identity in added] == ["p9.jpg", "p10.HEIC"]
    assert own.left_out == ["nosuffix", "notes.txt"]  # neither name nor content of a picture


def test_a_single_file_is_always_tried():
    own = Own()
    assert own.add(files("letter.pdf")) == ["id-letter.pdf"] and not own.left_out


def test_what_was_taken_away_is_gone_from_the_disk_and_so_is_the_rest_with_the_visit():
    own = Own()
    own.add(files("a.jpg", "b.jpg"))
    kept = {entry.name: entry.file for entry in own.entries()}
    assert kept["b.jpg"].read_bytes() == b"b.jpg"
    own.remove("id-a.jpg")
    assert not kept["a.jpg"].exists() and [entry.name for entry in own.entries()] == ["b.jpg"]
    del own
    gc.collect()
    assert not kept["b.jpg"].parent.exists()


def test_a_visit_holds_so_many_pictures_and_megabytes_and_says_what_it_left_out(monkeypatch):
    own = Own()
    assert len(own.add(files(*(f"{n}.jpg" for n in range(MOST_FILES + 7))))) == MOST_FILES and own.beyond == 7
    assert own.entries()[-1].name == f"{MOST_FILES - 1}.jpg"  # the first ones of the lot
    own.remove("id-3.jpg")
    assert own.add(files("x.jpg", "y.jpg")) == ["id-x.jpg"] and own.beyond == 1
    own.clear()
    monkeypatch.setattr("cifar_model.app.classify.own.MOST_BYTES", 12)
    assert own.add([("1", "1.jpg", b"x" * 8), ("2", "2.jpg", b"x" * 5), ("3", "3.jpg", b"x" * 4)]) == ["1", "3"]
    assert own.beyond == 1


def test_what_is_left_out_is_told_on_the_page(lab, monkeypatch):  # noqa: F811
    monkeypatch.setattr("cifar_model.app.classify.own.MOST_FILES", 2)
    at = upload(lab.open(), *((f"{n}.jpg", jpeg("red")) for n in range(5)))
    assert not at.exception and strip(at) == ["0.jpg", "1.jpg"] and "Left out: 3 files beyond" in at.warning[0].value


def test_a_disk_that_is_full_is_told(monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    own = Own()
    assert own.add(files("a.jpg")) == [] and own.unwritten == "No space left on device" and not own.files


def test_large_previews_and_answers_of_what_is_not_shown_are_not_kept(lab):  # noqa: F811
    lab.models("lab-net", "seed-cnn")
    at = upload(lab.open(), *((f"{n}.jpg", jpeg((n, 0, 0), (800, 600))) for n in range(5)))
    at.run()
    visit, chosen = at.session_state["answers"], at.session_state["chosen"]
    own = [(key, picture) for key, picture in visit.pictures.items() if not key[0].startswith("sample-")]
    assert len(own) == 5 and [key[0] for key, picture in own if picture.preview] == [chosen]
    other = next(key[0] for key, picture in own if not picture.preview)
    at.session_state["chosen"] = other
    at.run()
    visit = at.session_state["answers"]
    assert not at.exception and [key[0] for key, picture in visit.pictures.items() if picture.preview][-1] == other
    visit.positions[other] = 0.25
    at.run()
    assert len([key for key in at.session_state["answers"].pictures if key[0] == other]) == 1
    assert {key[2].name for key in at.session_state["answers"].beliefs} == {"lab-net"}


def test_the_server_refuses_more_than_a_visit_or_all_may_send(monkeypatch):
    manager = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(uploads, "get_script_run_ctx", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    monkeypatch.setattr(uploads, "MOST_FILES", 3)
    monkeypatch.setattr(uploads, "MOST_BYTES", 100)
    monkeypatch.setattr(uploads, "MOST_WAITING", 250)
    for _ in range(2):
        uploads.limit_uploads()

    def send(visit, number, size):  # as the server's route calls it
        manager.add_file(session_id=visit, file=UploadedFileRec(number, "a.jpg", "image/jpeg", b"x" * size))

    for number in "123":
        send("a", number, 30)
    send("a", "3", 10)  # the same once more
    with pytest.raises(HTTPException, match="At most 3 files"):
        send("a", "4", 1)
    with pytest.raises(HTTPException, match="At most"):
        send("b", "1", 101)
    send("b", "1", 100)
    with pytest.raises(HTTPException, match="busy"):
        send("c", "1", 90)
    manager.remove_session_files("b")
    send("c", "1", 90)


def test_the_server_keeps_no_copy_of_what_was_taken_in(monkeypatch):
    manager = MemoryUploadedFileManager("/upload")
    context = SimpleNamespace(uploaded_file_mgr=manager, session_id="me")
    monkeypatch.setattr(uploads, "get_script_run_ctx", lambda: context)
    for number in "12":
        manager.add_file("me", UploadedFileRec(number, f"{number}.jpg", "image/jpeg", b"abc"))
    value = [UploadedFile(record, FileURLs()) for record in manager.get_files("me", ["1", "2"])]
    value += [DeletedFile("0")]
    assert uploads.arrivals(value) == [("1", "1.jpg", b"abc"), ("2", "2.jpg", b"abc")]
    assert not manager.get_files("me", ["1", "2"])
    assert uploads.arrivals(None) == uploads.arrivals(DeletedFile("1")) == []


def test_own_pictures_survive_a_sample_another_page_and_another_way_in(lab):  # noqa: F811
    at = upload(lab.open(), ("b.jpg", jpeg("red")), ("a.jpg", jpeg("blue")))
    assert strip(at) == ["a.jpg", "b.jpg"]
    at.session_state["chosen"] = "sample-ship"
    at.run()
    assert strip(at) == ["a.jpg", "b.jpg"] and len(at.dataframe[0].value) == 2
    at.segmented_control(key="way").set_value("camera").run()
    at.segmented_control(key="way").set_value("files").run()
    assert strip(at) == ["a.jpg", "b.jpg"]
    asked = sum(n for _, n in lab.answering.asked)
    at.switch_page("pages/blend.py").run()
    at.switch_page("pages/classify.py").run()
    assert not at.exception and strip(at) == ["a.jpg", "b.jpg"]
    assert len(at.dataframe[0].value) == 2
    assert sum(n for _, n in lab.answering.asked) - asked <= 101 * 2  # the blend's; no picture twice


def test_taking_away_the_one_looked_at_shows_another(lab):  # noqa: F811
    at = upload(lab.open(), ("a.jpg", jpeg("red")), ("b.jpg", jpeg("blue")))
    own = at.session_state["own_pictures"]
    own.remove(at.session_state["chosen"])
    at.run()
    assert not at.exception and strip(at) == ["b.jpg"] and at.session_state["chosen"] in own.files
    own.clear()
    at.run()
    assert not at.exception and at.session_state["chosen"] == "sample-dog"


@pytest.mark.parametrize("turned", [False, True])
def test_what_arrived_is_told_by_the_files_own_size(turned):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    Image.fromarray(np.zeros((3024, 4032, 3), np.uint8)).save(file, "JPEG", exif=exif)
    picture = prepare(file.getvalue(), "photo.jpg")
    assert (picture.width, picture.height) == ((3024, 4032) if turned else (4032, 3024))


def test_epochs_of_a_run_are_chosen_in_a_box_of_their_own(lab, tmp_path):  # noqa: F811
    infos = [ModelInfo("lab-net", tmp_path / "lab-net", "lab-net", {}, "bundled")]
    infos += [ModelInfo("first", tmp_path / "first", "first", {}, "run")]
    (tmp_path / "first" / "epochs").mkdir(parents=True)
    for number in (1, 2, 3):
        (tmp_path / "first" / "epochs" / f"epoch-{number:03d}.keras").touch()
    lab.monkeypatch.setattr(resources, "models", lambda: infos)
    lab.answering = FakeWorker(lambda _, pixels: np.tile(belief(cat=0.5), (len(pixels), 1)))
    at = lab.open()
    assert at.selectbox(key="model").options == ["lab-net", "first"]
    at.selectbox(key="model").set_value("first").run()
    assert at.selectbox(key="model_epoch").options == ["Best epoch", "Epoch 1", "Epoch 2", "Epoch 3"]
    at.selectbox(key="model_epoch").set_value(2).run()
    assert lab.answering.asked[-1][0] == "epoch-002.keras"
    at.switch_page("pages/blend.py").run()
    assert at.selectbox(key="model_epoch").value == 2
    at = lab.open(model="first@3")
    assert at.selectbox(key="model").value == "first" and at.selectbox(key="model_epoch").value == 3


def test_options_survive_a_change_of_page_and_come_by_link(lab):  # noqa: F811
    at = lab.open(predict="1", model="lab-net", sample="frog")
    assert at.toggle(key="predict").value and at.subheader[0].value == "What do you say?"
    assert "sample" not in at.query_params  # the address doesn't tell
    at.switch_page("pages/blend.py").run()
    assert at.toggle(key="predict").value
    at.toggle(key="predict").set_value(False).run()
    at.switch_page("pages/classify.py").run()
    assert not at.toggle(key="predict").value and "cat · 83 %" in [heading.value for heading in at.subheader]
