"""What visitors send: how much of it at a time, and that the server keeps no copy once it has been taken in."""

from collections import Counter
from collections.abc import Callable

from starlette.exceptions import HTTPException
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

MOST_FILES, MOST_BYTES = 200, 200_000_000  # of one visit
MOST_WAITING = 600_000_000  # bytes of all visits that have been sent and not been taken in yet

_refused: Counter[str] = Counter()  # files by session


def limit_uploads() -> None:
    """Make the server refuse (413) what one visit, or all together, send beyond the limits.

    Streamlit itself limits the size of a file alone and holds every file in memory; the browser's own checks bind
    nobody who sends by hand.
    """
    context = get_script_run_ctx()
    manager = context.uploaded_file_mgr if context else None
    if manager is not None and "add_file" not in vars(manager):
        manager.add_file = _limited(manager, manager.add_file)


def refused_uploads() -> int:
    """How many files of this visit the server has refused; each is told once."""
    context = get_script_run_ctx()
    return _refused.pop(context.session_id, 0) if context else 0


def _limited(manager, add: Callable) -> Callable:
    def add_file(session_id: str, file: UploadedFileRec) -> None:
        held = {visit: list(files.values()) for visit, files in list(manager.file_storage.items())}
        mine = [len(one.data) for one in held.get(session_id, ()) if one.file_id != file.file_id]
        everybody = sum(len(one.data) for files in held.values() for one in files)
        if len(mine) >= MOST_FILES or sum(mine) + len(file.data) > MOST_BYTES:
            _refused[session_id] += 1
            raise HTTPException(413, f"At most {MOST_FILES} files and {MOST_BYTES // 10**6} MB at a time.")
        if everybody + len(file.data) > MOST_WAITING:
            raise HTTPException(413, "The server is busy with the files of others: try again in a minute.")
        add(session_id=session_id, file=file)

    return add_file


def arrivals(value) -> list[tuple[str, str, bytes]]:
    """What an uploader's value holds that is new: (id, name, bytes) of each file. The server's own copies are freed.

    The browser goes on naming files that were taken in before; of these nothing is left here.
    """
    found, context = [], get_script_run_ctx()
    for file in value if isinstance(value, list) else [value]:
        if isinstance(file, UploadedFile):
            found.append((file.file_id, file.name, file.getvalue()))
            if context:
                context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    return found
