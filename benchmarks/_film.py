"""Films for Chromium's made-up camera, made from the sample photographs; the browser tests use them, too."""

from pathlib import Path

import numpy as np
from PIL import Image

from cifar_model.pictures.decode import decode_image
from cifar_model.storage import assets_dir

WIDTH, HEIGHT = 640, 480


def camera_picture(name: str) -> Image.Image:
    """A sample photograph as a camera would show it, 640×480: its square fills the height."""
    photo = decode_image(assets_dir() / "samples" / f"{name}.webp")
    scale = HEIGHT / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
    picture = Image.new("RGB", (WIDTH, HEIGHT), (90, 100, 110))
    picture.paste(photo, ((WIDTH - photo.width) // 2, (HEIGHT - photo.height) // 2))
    return picture


def write_film(path: Path, pictures: list[Image.Image], rate: int) -> None:
    """A YUV4MPEG2 file (.y4m) of pictures 640×480, so many a second; colours as television has them (BT.601)."""
    with open(path, "wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            bright, *colors = picture.convert("YCbCr").split()
            film.write(b"FRAME\n" + _levels(bright, 16, 219, 0).tobytes())
            for color in colors:
                half = color.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BOX)
                film.write(_levels(half, 128, 224, 128).tobytes())


def camera_args(film: Path) -> list[str]:
    """What makes Chromium's camera show a film, over and over."""
    return ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]


def _levels(plane: Image.Image, zero: int, range_: int, middle: int) -> np.ndarray:
    values = zero + (np.asarray(plane, float) - middle) * range_ / 255
    return values.round().clip(0, 255).astype(np.uint8)
