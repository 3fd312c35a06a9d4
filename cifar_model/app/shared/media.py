"""Pictures that a browser fetches at an address, and keeps: a page that is redrawn needn't send them again."""

import base64

from streamlit import runtime


def address(picture: bytes, place: str) -> str:
    """Where this visit's browser finds a PNG or WebP file, relative to the app's own address, while the page names it.

    `place`: where on the page, one picture a place.
    """
    kind = "image/png" if picture.startswith(b"\x89PNG") else "image/webp"
    if not runtime.exists():  # a script without a server
        return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"
    return runtime.get_instance().media_file_mgr.add(picture, kind, f"cifar_lab/{place}").removeprefix("/")
