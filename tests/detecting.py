"""Detectors for the tests: real ``.tflite`` files that find what is bright, each square of an 8x8 grid by itself."""

from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

SIDE = 64
GRID = 8  # squares a side
MOST = 10  # detections

_POSTPROCESS = {
    "max_detections": f"i: {MOST}",
    "max_classes_per_detection": "i: 1",
    "use_regular_nms": "b: false",
    "nms_score_threshold": "f: 0.0",
    "nms_iou_threshold": "f: 0.5",
    "num_classes": "i: 2",
    **dict.fromkeys(("y_scale", "x_scale"), "f: 10.0"),
    **dict.fromkeys(("h_scale", "w_scale"), "f: 5.0"),
}


def ssd(path: Path) -> Path:
    """A detector whose last operation is TFLite's own, as SSD's: a square's class is 0, or 1 where it is red.

    A square's score is its mean brightness, 0 to 1; 0.25 where it is black, since it is given floats from -1.
    """
    centres = (np.arange(GRID) + 0.5) / GRID
    y, x = np.meshgrid(centres, centres, indexing="ij")
    side = np.full(GRID**2, 1 / GRID)
    anchors = np.stack([y.ravel(), x.ravel(), side, side], axis=1).astype(np.float32)
    attributes = " ".join(f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in _POSTPROCESS.items())

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, GRID**2, 4)),
            tf.TensorSpec((1, GRID**2, 3)),
            tf.TensorSpec((GRID**2, 4)),
        ],
        experimental_implements=f'name: "TFLite_Detection_PostProcess" {attributes}',
    )
    def postprocess(boxes, scores, anchors):  # the operation takes its place
        return tf.zeros((1, MOST, 4)), tf.zeros((1, MOST)), tf.zeros((1, MOST)), tf.zeros(1)

    def detect(picture):
        red, green, _ = tf.unstack(tf.nn.avg_pool2d((picture + 1) / 2, SIDE // GRID, SIDE // GRID, "VALID"), axis=-1)
        scores = tf.stack([tf.zeros_like(red), green, red - green], axis=-1)
        return postprocess(tf.zeros((1, GRID**2, 4)), tf.reshape(scores, (1, -1, 3)), tf.constant(anchors))

    return convert(path, detect, tf.TensorSpec((1, SIDE, SIDE, 3)))


def plain(path: Path, order: str = "bcsn", dtype: tf.DType = tf.uint8) -> Path:
    """The same outputs in an order of one's own, without that operation: boxes, classes, scores, n.

    It takes 8 bits, and finds the two brightest squares, of the class 3.
    """

    def detect(picture):
        grey = tf.reduce_mean(tf.cast(picture, tf.float32) / 255, -1, keepdims=True)
        bright = tf.reshape(tf.nn.avg_pool2d(grey, SIDE // GRID, SIDE // GRID, "VALID"), (-1,))
        scores, places = tf.math.top_k(bright, 4)
        corner = tf.cast(tf.stack([places // GRID, places % GRID], axis=1), tf.float32) / GRID
        made = {
            "b": tf.concat([corner, corner + 1 / GRID], axis=1)[tf.newaxis],
            "c": tf.fill((1, 4), 3.0) + 0 * scores,
            "s": scores[tf.newaxis],
            "n": tf.fill((1,), 2.0),
        }
        return tuple(made[letter] for letter in order)

    return convert(path, detect, tf.TensorSpec((1, SIDE, SIDE, 3), dtype))


def convert(path: Path, function, given: tf.TensorSpec) -> Path:
    """A ``.tflite`` file of a function of one tensor."""
    module = tf.Module()
    module.call = tf.function(function, input_signature=[given])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    converter.allow_custom_ops = True
    path.write_bytes(converter.convert())
    return path


def with_normalization(path: Path, mean: list[float], deviation: list[float]) -> Path:
    """Write TFLite's metadata into a file: how the input is normalized, by metadata_schema.fbs."""
    builder = flatbuffers.Builder(0)

    def floats(values):
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    def table(**fields):
        builder.StartObject(8)
        for name, value in fields.items():
            if name == "kind":
                builder.PrependUint8Slot(0, value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(int(name[1:]), value, 0)
        return builder.EndObject()

    def only(one):
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(one)
        return builder.EndVector()

    options = table(_0=floats(mean), _1=floats(deviation))
    unit = table(kind=1, _1=options)
    tensor = table(_4=only(unit))
    graph = table(_2=only(tensor))
    builder.Finish(table(_3=only(graph)), b"M001")

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(bytes(builder.Output()), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    whole = flatbuffers.Builder(0)
    whole.Finish(model.Pack(whole), b"TFL3")
    path.write_bytes(bytes(whole.Output()))
    return path


def squares(*places: tuple[int, int], colour=(255, 255, 255), scale: int = 1) -> np.ndarray:
    """A black picture, of the size that the detectors take or a multiple, with bright squares at (row, column)."""
    side = scale * SIDE // GRID
    rgb = np.zeros((GRID * side, GRID * side, 3), np.uint8)
    for row, column in places:
        rgb[row * side : (row + 1) * side, column * side : (column + 1) * side] = colour
    return rgb
