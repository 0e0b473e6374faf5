"""Ask a SavedModel by the names of its tensors, as TensorFlow Serving does: SAVED_MODEL REQUESTS ANSWERS, pickles.

A request is a signature and its inputs; an answer its outputs, or the message of the refusal. To be run in a process of
its own, without kcolor.
"""

import pickle
import sys
from pathlib import Path

import tensorflow as tf

path, requests, answers = sys.argv[1:]


def ask(session, signatures, name, inputs):
    signature = signatures[name]
    fed = {signature.inputs[key].name: value for key, value in inputs.items()}
    try:
        return session.run({key: info.name for key, info in signature.outputs.items()}, fed)
    except tf.errors.InvalidArgumentError as error:
        return error.message


with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    model = tf.compat.v1.saved_model.load(session, ["serve"], path)
    made = [ask(session, model.signature_def, *each) for each in pickle.loads(Path(requests).read_bytes())]
Path(answers).write_bytes(pickle.dumps(made))
if "kcolor" in sys.modules:
    sys.exit("the export needs kcolor")
