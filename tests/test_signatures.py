import io
import os
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from made import colour
from PIL import Image

from kcolor import colorizer, networks, photo, signatures

SIZE = 64


@pytest.fixture(scope="module")
def generator() -> keras.Model:
    keras.utils.set_random_seed(1)
    made = networks.unet_with_class_branch(3, SIZE, depth=4, width=4)
    for variable in made.trainable_variables:
        variable.assign(3.0 * variable)  # so that its colours are strong enough to be compared
    return made


@pytest.fixture(scope="module")
def served(generator) -> signatures.Signatures:
    return signatures.of(generator, ["forest", "sea", "street"], max_pixels=40_000)


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return colour(96, seed).resize((width, height))


MIXED = [
    saved(picture(90, 60), "JPEG", exif=turned(6)),
    saved(picture(33, 120, 1), "PNG"),
    saved(picture(50, 50, 2).convert("L"), "JPEG"),
    saved(picture(70, 40, 3), "WEBP", lossless=True, exif=turned(3)),
    saved(picture(40, 70, 4), "BMP"),
    saved(picture(64, 64, 5).convert("RGBA"), "PNG", exif=turned(8)),
    saved(picture(1, 1, 6), "PNG"),
    saved(picture(64, 20, 7).convert("P"), "PNG"),
    saved(picture(30, 30, 8).convert("L"), "PNG"),
    saved(picture(20, 30, 9), "JPEG", progressive=True),
]


def test_any_mix_is_coloured_as_the_library_does_it(generator, served):
    made = served["serving_default"](image_bytes=tf.constant(MIXED))["colorized_bytes"].numpy()
    library = colorizer.of(generator)
    for data, png in zip(MIXED, made, strict=True):
        assert png.startswith(b"\x89PNG")
        expected = library(photo.decode(data, "a test")).rgb8.astype(int)
        coloured = opened(png).astype(int)
        assert coloured.shape == expected.shape
        assert np.abs(coloured - expected).max() <= 2  # the library's strips and XLA round otherwise
        assert np.ptp(coloured, axis=-1).max() > 20


def test_a_photograph_s_colours_do_not_depend_on_the_others(served):
    together = served["serving_default"](image_bytes=tf.constant(MIXED))["colorized_bytes"].numpy()
    for data, expected in zip(MIXED, together, strict=True):
        (alone,) = served["serving_default"](image_bytes=tf.constant([data]))["colorized_bytes"].numpy()
        assert np.abs(opened(alone).astype(int) - opened(expected)).max() <= 1


def test_no_photographs(served):
    none = tf.constant([], tf.string)
    assert served["serving_default"](image_bytes=none)["colorized_bytes"].shape == (0,)
    assert served["classify"](image_bytes=none)["scores"].shape == (0, 3)


def test_jpeg_of_each_photograph_s_own_quality(served):
    data = saved(picture(128, 128), "PNG")
    made = served["jpeg"](image_bytes=tf.constant([data] * 3), quality=tf.constant([10, 95, 60]))["colorized_bytes"]
    assert all(Image.open(io.BytesIO(each)).format == "JPEG" for each in made.numpy())
    low, high, middle = (len(each) for each in made.numpy())
    assert low < middle < high
    (png,) = served["serving_default"](image_bytes=tf.constant([data]))["colorized_bytes"].numpy()
    expected = opened(saved(Image.open(io.BytesIO(png)), "JPEG", quality=95, subsampling="4:2:0"))
    assert np.abs(opened(made[1].numpy()).astype(int) - expected).mean() < 2


def test_ab_is_the_network_s(generator, served):
    l = np.random.default_rng(0).uniform(-1, 1, (3, SIZE, SIZE, 1)).astype(np.float32)
    np.testing.assert_allclose(served["ab"](l=l)["ab"], generator(l, training=False)["ab"], atol=1e-6)


def test_classes_by_their_likelihood(generator, served):
    made = served["classify"](image_bytes=tf.constant(MIXED))
    expected = [
        tf.nn.softmax(colorizer.of(generator).predict(tf.constant(photo.decode(data, "a test").rgb8))["logits"])
        for data in MIXED
    ]
    for names, scores, each in zip(made["classes"].numpy(), made["scores"].numpy(), np.array(expected), strict=True):
        order = np.argsort(-each)
        assert [name.decode() for name in names] == [["forest", "sea", "street"][i] for i in order]
        np.testing.assert_allclose(scores, each[order], atol=1e-4)


def test_classes_without_names_are_numbers(generator):
    made = signatures.of(generator)["classify"](image_bytes=tf.constant(MIXED[:1]))
    assert sorted(made["classes"].numpy()[0]) == [b"0", b"1", b"2"]


def test_without_a_class_branch_there_is_nothing_to_classify():
    assert set(signatures.of(networks.unet(SIZE, depth=4, width=4))) == {"serving_default", "jpeg", "ab"}


def bomb(kind: str) -> bytes:
    """A file that says it is of 50,000 x 40,000 pixels, and has none."""
    return {
        "PNG": b"\x89PNG\r\n\x1a\n" + struct.pack(">L4sLL", 13, b"IHDR", 50_000, 40_000) + bytes(50),
        "JPEG": b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 40_000, 50_000) + bytes(50),
        "BMP": b"BM" + bytes(12) + struct.pack("<Lll", 40, 50_000, -40_000) + bytes(50),
        "WEBP": b"RIFF" + bytes(4) + b"WEBPVP8X" + struct.pack("<LL", 10, 0) + b"\x4f\xc3\0\x3f\x9c\0" + bytes(50),
    }[kind]


REFUSED = {
    "no image: it is empty": b"",
    "not a JPEG, PNG, WebP or BMP": b"this is text",
    "cannot be decoded: cut short or damaged": saved(picture(90, 60), "JPEG")[:-400],
    "300x200 pixels are more than 40,000: make it smaller": saved(picture(300, 200), "PNG"),
}


@pytest.mark.parametrize("signature", ["serving_default", "jpeg", "classify"])
@pytest.mark.parametrize(
    ("why", "data"), REFUSED.items(), ids=lambda value: value[:12] if isinstance(value, str) else ""
)
def test_a_refusal_names_the_photograph_and_the_reason(served, signature, why, data):
    photographs = tf.constant([*MIXED, data, *MIXED])
    more = {"quality": tf.fill(photographs.shape, 90)} if signature == "jpeg" else {}
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        served[signature](image_bytes=photographs, **more)
    assert signatures.refusal(refused.value) == f"image_bytes[{len(MIXED)}]: {why}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_the_size_is_that_of_the_header_of_any_format(served, kind):
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        served["classify"](image_bytes=tf.constant([bomb(kind)]))
    assert "50000x40000 pixels are more than 40,000" in signatures.refusal(refused.value)


@pytest.mark.parametrize("between", [b"\0", b"\xff", b"\xff\xfe\0\2"])
@pytest.mark.parametrize("count", [1, 10_001])
def test_no_byte_too_many_hides_a_large_photograph(served, between, count):
    """What decoders pass over is passed over; where that is too much, there is no size, and no photograph."""
    data = saved(picture(1000, 1000), "JPEG")
    at = data.index(b"\xff\xdb")
    hiding = data[:at] + count * between + data[at:]
    assert tf.io.decode_jpeg(hiding).shape == (1000, 1000, 3)
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        served["serving_default"](image_bytes=tf.constant([hiding]))
    why = "1000x1000 pixels are more than 40,000" if count == 1 else "its header does not say how large it is"
    assert why in signatures.refusal(refused.value)


@pytest.mark.parametrize(
    ("quality", "why"),
    [
        ([90, 0], "quality[1]: 0 is not in 1 to 100"),
        ([101, 9], "quality[0]: 101 is not in 1 to 100"),
        ([90], "quality: 1 numbers for 2 photographs"),
    ],
)
def test_a_quality_that_there_is_not(served, quality, why):
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        served["jpeg"](image_bytes=tf.constant(MIXED[:2]), quality=tf.constant(quality))
    assert signatures.refusal(refused.value) == why


def test_a_broken_model_does_not_answer_grey(generator):
    broken = keras.models.clone_model(generator)
    broken.trainable_variables[0].assign(broken.trainable_variables[0] * np.nan)
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        signatures.of(broken)["serving_default"](image_bytes=tf.constant(MIXED[:1]))
    assert signatures.refusal(refused.value) == "the model gives NaN: a broken model; export another checkpoint"


def test_strings_are_worked_on_by_the_cpu_and_nothing_is_compiled(served):
    graph = served["jpeg"].get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    strings = [node for node in nodes if node.op.startswith(("Encode", "Decode", "Png", "StringFormat", "Substr"))]
    assert {"EncodeJpegVariableQuality", "DecodeRaw"} <= {node.op for node in strings}
    assert [node.op for node in strings if "CPU" not in node.device.upper()] == []
    assert not any("_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b for node in nodes)


def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path):
    code = """
import resource, sys, keras, tensorflow as tf
from kcolor import networks, signatures
served = signatures.of(networks.unet(64, depth=4, width=4))["jpeg"]
data = tf.io.encode_jpeg(tf.zeros((1000, 1000, 3), tf.uint8)).numpy()
def peak(count):
    served(image_bytes=tf.constant([data] * count), quality=tf.fill((count,), 80))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peak(8)
before = peak(8)
sys.exit(peak(40) - before > 50_000)  # 32 more, decoded, would be 94 MiB
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
