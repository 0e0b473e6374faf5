"""How near a photo's own colours come that were shrunk to a network's size and enlarged again, and what that costs.

    python benchmarks/upsampling.py [FOLDER] [--part tune|report] [--limit N] [--halve]
    python benchmarks/upsampling.py --cost [WIDTHxHEIGHT …]

Delta E 2000 between a photo and its own ab, shrunk as the network's picture is, enlarged by each of
`kcolor.upsample.UPSAMPLERS` and joined with the photo's own L; mean and 95th percentile of a photo, averaged over
photos, and as ratios to bilinear. A network's errors are not in it. Without a folder: the photographs of scikit-image.

Most JPEG files keep colour at half the size, blurred: there is nothing to be found again, and the sharper answer is the
wrong one. --halve makes photos half as large first, so that their colours are as sharp as their lightness. Parameters
are tuned on every other photo (--part tune) and reported of the others (--part report).

--cost: seconds per megapixel and memory, each in a process of its own, of made-up photos.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIZES = (128, 256)


def photographs(folder: Path | None, part: str, limit: int | None) -> list[np.ndarray]:
    """uint8 RGB of each."""
    from kcolor import photo

    if folder is None:
        import skimage.data

        found = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
        return [*found, skimage.data.stereo_motorcycle()[0]]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in photo.SUFFIXES)
    paths = {"tune": paths[0::2], "report": paths[1::2], "all": paths}[part]
    if limit:
        paths = [paths[i * len(paths) // limit] for i in range(min(limit, len(paths)))]
    return [photo.read(path).rgb8 for path in paths]


def halved(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    blocks = rgb[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)


def compare(photos: list[np.ndarray]) -> None:
    import tensorflow as tf

    from kcolor import color, image
    from kcolor.join import join
    from kcolor.metrics.delta_e import delta_e_2000
    from kcolor.upsample import UPSAMPLERS

    print(f"{len(photos)} photos\n{'size':>4} {'':>9} {'Delta E':>8} {'p95':>6} {'ratio':>6} {'p95':>6}  worse")
    for size in SIZES:
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in UPSAMPLERS}
        for rgb in map(tf.constant, photos):
            ab = color.split(image.fit_square(rgb, size))[1]
            for name, upsampler in UPSAMPLERS.items():
                made = join(rgb, ab, upsampler)
                each = delta_e_2000(color.rgb_to_lab(rgb), color.rgb_to_lab(made)).numpy()
                figures[name].append((each.mean(), np.percentile(each, 95)))
        bilinear = np.array(figures["bilinear"])
        for name, values in figures.items():
            table = np.array(values)
            mean, ratio = table.mean(0), table.mean(0) / bilinear.mean(0)
            worse = int((table[:, 0] > bilinear[:, 0]).sum())
            print(
                f"{size:4} {name:>9} {mean[0]:8.3f} {mean[1]:6.3f} {ratio[0]:6.3f} {ratio[1]:6.3f}  {worse}", flush=True
            )


def made_up(width: int, height: int) -> np.ndarray:
    """Shapes with grain, made in little memory."""
    random = np.random.default_rng(0)
    tile = random.integers(0, 256, (height // 64 + 1, width // 64 + 1, 3), np.uint8)
    rgb = np.repeat(np.repeat(tile, 64, axis=0)[:height], 64, axis=1)[:, :width]
    rgb = np.ascontiguousarray(rgb)
    rgb ^= random.integers(0, 16, (height, width, 1), np.uint8)
    return rgb


def measure(name: str, width: int, height: int) -> None:
    import tensorflow as tf

    from kcolor import color, image
    from kcolor.join import join
    from kcolor.upsample import UPSAMPLERS

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    # TensorFlow's own start, and what is compiled once a process, are counted apart.
    started = time.perf_counter()
    join(made_up(1024, 1024), tf.zeros((256, 256, 2)), UPSAMPLERS[name]).numpy()
    first = time.perf_counter() - started
    rgb = tf.constant(made_up(width, height))
    before, times = peak(), []
    for _ in range(3):
        started = time.perf_counter()
        ab = color.split(image.fit_square(rgb, 256))[1]
        shrunk = time.perf_counter() - started
        join(rgb, ab, UPSAMPLERS[name])
        times.append(time.perf_counter() - started)
    megapixels = width * height / 1e6
    print(
        f"{name:>9} {width}x{height}: {min(times):.2f} s, {min(times) / megapixels:.3f} s/MP (of it {shrunk:.2f} s to "
        f"shrink the photo); peak {peak() - before:.0f} MiB above {before:.0f}; first of the process {first:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--part", choices=["tune", "report", "all"], default="all")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--halve", action="store_true")
    parser.add_argument("--cost", nargs="*", metavar="WIDTHxHEIGHT")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.one[0], int(given.one[1]), int(given.one[2]))
    elif given.cost is not None:
        for size in given.cost or ["1000x1000", "6000x4000"]:
            for way in ("bilinear", "guided"):
                subprocess.run([sys.executable, __file__, "--one", way, *size.split("x")], check=True)
    else:
        chosen = photographs(given.folder, given.part, given.limit)
        compare([halved(rgb) for rgb in chosen] if given.halve else chosen)
