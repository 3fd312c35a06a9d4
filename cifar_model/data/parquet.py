"""The Parquet layout of the Hugging Face data sets, CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from cifar_model.classes import IMAGE_SIZE
from cifar_model.data.sources import Part, Source, check_labels, fail, split_of
from cifar_model.errors import DatasetError

_MAX_PARQUET_ROWS = 1_000_000
_MAX_PICTURE = 64 << 10  # bytes of one encoded picture; 32×32 pixels uncompressed are 3 kB


def read_parquet(source: Source) -> Iterator[Part]:
    for file in source.files:
        yield read_shard(file, file)


def read_shard(file: Path, content: Path | BinaryIO) -> Part:
    """One file of CIFAR-10 in that layout: `file` is its name, `content` where its bytes are."""
    x, y, _ = read_rows(file, content, ("label",))
    check_labels(file, y)
    return file.name, split_of(file), x, y


def read_rows(
    file: Path, content: Path | BinaryIO, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, dict[bytes, bytes]]:
    """Pictures uint8 (n, 32, 32, 3), labels int64 (n,) as they stand there, and what else the file says of itself.

    `names`: what the column of the labels may be called, the best first. DatasetError on anything else.
    """
    import pyarrow as pa  # slow to import
    import pyarrow.parquet as pq  # slow to import

    try:
        with pq.ParquetFile(content, pre_buffer=False) as parquet:  # or it holds the whole file
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
            types = {field.name: field.type for field in schema}
            column = next((name for name in names if name in types), names[0])
            img, label = types.get("img", pa.null()), types.get(column, pa.null())
            encoded = img.field("bytes").type if _has_bytes(img) else pa.null()
            if encoded not in (pa.binary(), pa.large_binary()) or not pa.types.is_integer(label):
                found = ", ".join(f"{name} ({kind})" for name, kind in types.items())[:300]
                fail(file, f"the columns {found}", f"img (struct with bytes) and {names[0]} (an integer)")
            if not 0 < rows <= _MAX_PARQUET_ROWS:
                fail(file, f"{rows:,} rows", f"1 to {_MAX_PARQUET_ROWS:,}")
            x = np.empty((rows, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
            y = np.empty(rows, np.int64)
            row = 0
            for batch in parquet.iter_batches(1000, columns=["img.bytes", column]):
                labels = batch.column(column)
                if labels.null_count:
                    fail(file, f"{labels.null_count} rows without a label", "a label in each")
                y[row : row + len(batch)] = labels.to_numpy(zero_copy_only=False)
                for encoded in batch.column("img").field("bytes").to_pylist():
                    x[row] = decoded_png(file, row, encoded)
                    row += 1
    except (pa.ArrowException, OSError, ValueError) as error:  # truncated, not Parquet, counts that lie
        if getattr(error, "errno", None):  # the system's error, not Arrow's
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DatasetError(f"{file}: not a whole Parquet file ({reason}). Fetch it again.") from error
    if row != rows:
        fail(file, f"{row:,} pictures", f"{rows:,}")
    return x, y, schema.metadata or {}


def _has_bytes(img: Any) -> bool:
    import pyarrow as pa  # slow to import

    return pa.types.is_struct(img) and img.get_field_index("bytes") >= 0


def decoded_png(file: Path, row: int | None, encoded: bytes | None) -> np.ndarray:
    """One encoded picture → uint8 (32, 32, 3)."""
    expected = f"{IMAGE_SIZE}×{IMAGE_SIZE} RGB pixels as PNG or JPEG"
    where = f"{file}, row {row}" if row is not None else str(file)
    if not encoded or len(encoded) > _MAX_PICTURE:
        fail(where, f"{len(encoded or b''):,} bytes", f"{expected}, at most {_MAX_PICTURE:,} bytes")
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            if image.size != (IMAGE_SIZE, IMAGE_SIZE) or image.mode != "RGB":
                fail(where, f"{image.width}×{image.height} {image.mode}", expected)
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        fail(where, f"an unreadable picture ({error})", expected)
