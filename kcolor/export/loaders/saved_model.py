"""Load the ``ab`` signature of a SavedModel with TensorFlow alone; see whether a server could answer by the others."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

WITHOUT = ()


def load(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the signature gives of a batch."""
    model = tf.saved_model.load(path)
    signature = model.signatures["ab"]

    def run(batch: np.ndarray) -> np.ndarray:
        return signature(l=tf.constant(batch))["ab"].numpy()

    run.model = model  # type: ignore[attr-defined]  # what is not held on to is unloaded
    return run


def check(path: str, run: Callable[[np.ndarray], np.ndarray]) -> None:
    """End the process with what is wrong, unless each signature answers the first of its warm-up requests.

    They are what a server asks before it says that it is ready: real JPEGs, the first ones small.
    """
    signatures = run.model.signatures  # type: ignore[attr-defined]
    # What optimizes a graph takes longer than a few answers by it.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    doing = "the requests of the warm-up"
    try:
        asked = _first_requests(Path(path, "assets.extra", "tf_serving_warmup_requests"))
        if asked.keys() != signatures.keys():
            sys.exit(f"{doing} are of {sorted(asked)}, and the signatures are {sorted(signatures)}")
        for doing, inputs in asked.items():
            answer = signatures[doing](**inputs)
            for picture in answer.get("colorized_bytes", ()):
                tf.io.decode_image(picture)
    except tf.errors.OpError as error:
        # Before the node that it came from, and after where that was defined.
        said = re.search(r"(.+)\n\s*\[\[", error.message)
        sys.exit(f"{doing}: {said[1] if said else error.message.splitlines()[0]}")


def _first_requests(file: Path) -> dict[str, dict[str, tf.Tensor]]:
    """The first of the requests to each signature. All are read: a damaged one keeps a server from starting."""
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    asked: dict[str, dict[str, tf.Tensor]] = {}
    for record in tf.data.TFRecordDataset(str(file)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        asked.setdefault(request.model_spec.signature_name, inputs)
    return asked
