"""What several tests build: generated pictures and the files that hold them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES

REPOSITORY = Path(__file__).resolve().parent.parent


def make_pictures(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy stripes in the colour of each class: uint8 (10·per_class, 32, 32, 3), int64 labels, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(10), per_class))
    rows, columns = np.mgrid[:32, :32]
    angle = np.pi * labels / 10
    phase = rng.uniform(0, 2 * np.pi, len(labels))
    along = np.multiply.outer(np.cos(angle), columns) + np.multiply.outer(np.sin(angle), rows)
    stripes = 0.7 + 0.3 * np.sin(0.8 * along + phase[:, None, None])
    palette = np.array([[int(CLASS_COLORS[name][i : i + 2], 16) for i in (1, 3, 5)] for name in CLASS_NAMES])
    pictures = stripes[..., None] * palette[labels][:, None, None]
    pictures += rng.normal(0, 20, pictures.shape)
    return pictures.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(path: Path, pictures, labels, kind: str = "PNG") -> None:
    """A file in the layout of the Hugging Face data set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    img = [{"bytes": encode(p, kind), "path": f"{i}.{kind.lower()}"} for i, p in enumerate(pictures)]
    img_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"img": pa.array(img, img_type), "label": np.asarray(labels, np.int64)}), path)
