"""Re-encode scikit-learn's copy of the UCI handwritten digits as the package's digits.npz.

    pip install scikit-learn
    python scripts/encode_digits.py tinygrad_cnn/data/digits.npz

The archive holds `images` uint8 (1797 8 8) in 0..16 and `labels` uint8 (1797). Its timestamps are fixed, so the
same arrays give the same bytes wherever zlib is the same; the printed checksums are of the arrays themselves.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def encode(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> bytes:
    """The bytes of a compressed npz of the two arrays, without the time of writing."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name, array in (("images", images), ("labels", labels)):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=ZIP_EPOCH)
            members.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return archive.getvalue()


def exact_uint8(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """The array as uint8; ValueError if a value would change."""
    bytes_ = array.astype(np.uint8)
    if not np.array_equal(bytes_, array):
        raise ValueError(f"encode_digits: values of dtype {array.dtype} do not fit uint8")
    return bytes_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the npz to write")
    output: Path = parser.parse_args().output

    from sklearn.datasets import load_digits

    source = load_digits()
    arrays = {"images": exact_uint8(source.images), "labels": exact_uint8(source.target)}
    encoded = encode(**arrays)
    output.write_bytes(encoded)
    for name, array in arrays.items():
        print(f"{name}  {array.dtype} {array.shape}  sha256 {hashlib.sha256(array.tobytes()).hexdigest()}")
    print(f"{output}  {len(encoded)} bytes")


if __name__ == "__main__":
    main()
