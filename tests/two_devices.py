"""Trains by each recipe that is named on one device and on two of this machine, and prints what came of it, as JSON.

In a process of its own: virtual devices are to be there before TensorFlow starts.
"""

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from made import fill
from standins import classifier

from kcolor import build, loop, recipe
from kcolor.data import dataset, manifest
from kcolor.team import Team
from kcolor.weights import CATALOGUE

CHANGES = ["data.size=64", "network.width=4", "network.critic_width=4", "network.critic_strided=2"]
CHANGES += ["train.batch_size=4", "data.tone=0.2", "data.grain=3.0"]
# The gradient of the critic's last bias is nothing but rounding, of which Adam would make whole steps.
CHANGES += ["optimizer.epsilon=1e-3"]
OWN_CHANGES = {"chromagan": ["network.backbone_weights=none"]}
EPOCHS, STEPS = 2, 5


class Losses(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.steps, self.epochs, self.waited = [], [], False

    def on_train_batch_end(self, batch, logs=None):
        self.waited |= not all(tf.is_tensor(value) for value in logs.values())
        self.steps.append({name: float(value) for name, value in logs.items()})

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(logs)


class Kept(loop._Steps):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        Kept.last = self


def train(chosen: recipe.Recipe, found: manifest.Manifest, team: Team) -> dict:
    with team.strategy.scope():
        model = build.color_gan(chosen, len(found.classes), EPOCHS * STEPS)
    common = {"size": chosen.data.size, "crop": False}
    training, validation = (build.photos(found, split) for split in ("train", "val"))
    losses, rows = Losses(), chosen.train.batch_size // team.replicas
    loop.train(
        model,
        team,
        training=partial(dataset.training_stream, training, batch_size=chosen.train.batch_size, seed=0, **common),
        validation=partial(dataset.evaluation_batches, validation, batch_size=rows, **common),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        callbacks=[losses],
        stop=loop.Stop(),
    )
    graphs = {"judge": Kept.last.judge, "verdict": Kept.last.verdict, **Kept.last.step}
    return {
        "steps": losses.steps,
        "epochs": losses.epochs,
        "waited": losses.waited,
        "traces": {str(name): graph.experimental_get_tracing_count() for name, graph in graphs.items()},
        "weights": [variable.numpy().astype(np.float64).ravel().tolist() for variable in model.variables],
    }


def main(names: list[str]) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    loop._Steps = Kept
    told = {}
    # One for all recipes: two would give their exchanges the same numbers.
    teams = (Team(), Team(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        CATALOGUE["vgg16-imagenet"] = classifier()  # who teaches chromagan
        photos = fill(Path(folder) / "photos", [f"{scene}/{i}.png" for scene in ("forest", "sea") for i in range(11)])
        # Seven photos to validate with: four, and then two and one.
        found = manifest.prepare(photos, survey_file=Path(folder) / "s.jsonl", split=(0.5, 0.3, 0.2), workers=1)
        for name in names:
            chosen = recipe.load(recipe.find(name), [*CHANGES, *OWN_CHANGES.get(name, ["network.depth=4"])])
            told[name] = [train(chosen, found, team) for team in teams]
        told["validated"] = found.counts()["val"]
    print(json.dumps(told))


main(sys.argv[1:])
