"""The training steps of the paper's recipes: pictures a second, and how far from the products of matrices in them.

A step is one batch of made-up pictures in memory, at the recipe's own size and batch. float32 and bfloat16 are measured
in processes that take turns, and so is another checkout of kcolor (`--beside`). A turn is as many batches as make one
step of the generator: five in the Wasserstein recipes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import turns

# A name, and the recipe with its changes.
RECIPES = {
    "gan": ("gan", []),
    "gan-class": ("gan-class", []),
    "wgan": ("wgan", []),
    "wgan-1": ("wgan", ["objective.critic_steps=1"]),
    "wgan-clip": ("wgan-clip", []),
    "chromagan": ("chromagan", ["network.backbone_weights=none", "classification.target=labels"]),
}
PRECISIONS = ("float32", "mixed_bfloat16")
CLASSES = 205


def measure(
    *,
    rounds: int = 3,
    quick: bool = False,
    recipes: Sequence[str] = tuple(RECIPES),
    beside: Path | None = None,
) -> dict[str, Any]:
    """By recipe and precision: rates, operations, the floor, the times of the parts.

    Args:
        rounds: Turns that each is measured for.
        quick: A turn each, of narrow networks.
        recipes: Those of `RECIPES` to measure.
        beside: Another checkout, measured in the same minutes.
    """
    checkouts = {"": turns.ROOT} | ({"beside": beside} if beside else {})
    figures: dict[str, Any] = {}
    rounds = 1 if quick else rounds
    narrow = ["network.width=8", "network.critic_width=8"] if quick else []
    for name in recipes:
        recipe, changes = RECIPES[name]
        with ExitStack() as stack:
            workers = {
                (precision, label): stack.enter_context(worker(recipe, precision, [*changes, *narrow], root))
                for precision in PRECISIONS
                for label, root in checkouts.items()
            }
            times: dict[Any, list[float]] = {key: [] for key in workers}
            rates: dict[Any, float] = dict.fromkeys(workers, 0.0)
            for _ in range(rounds):
                for key, each in workers.items():
                    times[key].append(each.ask(what="turn")["seconds"])
                    rates[key] = max(rates[key], each.ask(what="rate")["operations_a_second"])
            entry = figures[name] = {}
            for (precision, label), each in workers.items():
                turn = turns.summary(times[precision, label])
                if not label:
                    entry[precision] = _figures(each, turn, rates[precision, label], min(rounds, 3))
                else:
                    faster = turn["median_s"] / entry[precision]["turn"]["median_s"]
                    entry[precision] |= {"beside": turn, "times_as_fast_as_beside": faster}
            first = entry["float32"]["pictures_a_second"]
            for one in entry.values():
                one["times_as_fast_as_float32"] = one["pictures_a_second"] / first
    return {"recipes": figures}


def worker(recipe: str, precision: str, changes: list[str], checkout: Path = turns.ROOT) -> turns.Worker:
    """A process that makes the steps of a recipe; its first are done."""
    return turns.Worker("benchmarks.training_step", recipe, f"train.precision={precision}", *changes, checkout=checkout)


def _figures(worker: turns.Worker, turn: dict[str, Any], rate: float, rounds: int) -> dict[str, Any]:
    about, operations = worker.about, worker.ask(what="operations")
    parts = worker.ask(what="parts", rounds=rounds)
    floor = operations["turn"] / rate
    return {
        "batch": about["batch"],
        "size": about["size"],
        "batches_a_turn": about["batches_a_turn"],
        "turn": turn,
        "pictures_a_second": about["batch"] * about["batches_a_turn"] / turn["median_s"],
        "operations": operations,
        "product_gflops": rate / 1e9,
        "floor_s": floor,
        "time_over_floor": turn["median_s"] / floor,
        "parts_s": parts,
        "lab_share": parts["lab"] * about["batches_a_turn"] / turn["median_s"],
        "peak_memory_gib": worker.ask(what="memory")["gib"],
    }


def parts_of(model: Any, data: Any) -> dict[str, Callable[[], Any]]:
    """The parts of a step as functions, each computed by itself; what comes before a part is given to it.

    Args:
        model: The GAN, compiled.
        data: A batch (rgb, labels).
    """
    import tensorflow as tf

    from kcolor import color, gan, losses

    l, ab = color.split(data[0])
    outputs = model.generate(l)
    fake = outputs["ab"]
    generated, judged = model.generator.trainable_variables, model.critic.trainable_variables
    kept = {id(variable): tf.zeros(variable.shape) for variable in [*generated, *judged]}

    def lab() -> Any:
        return color.split(data[0])

    def forward() -> Any:
        return model.generate(l)

    def forward_and_backward() -> Any:
        with tf.GradientTape() as tape:
            made = model.generate(l)
        return tape.gradient(made, generated, output_gradients=made)

    def critic() -> Any:
        with tf.GradientTape() as tape:
            terms = model.critic_terms(l, ab, fake)
        return tape.gradient(terms["critic"], judged)

    def penalty() -> Any:
        mixing = tf.fill((ab.shape[0], 1, 1, 1), 0.5)
        with tf.GradientTape() as tape:
            loss = losses.gradient_penalty(lambda x: model.criticize([l, x]), ab, fake, mixing)
        return tape.gradient(loss, judged)

    def adversarial() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            terms = model.generator_terms(l, ab, data[1], outputs)
        return tape.gradient(terms["generator"], outputs)

    def generator_optimizer() -> Any:
        return model.optimizer.apply([kept[id(variable)] for variable in generated], generated)

    def critic_optimizer() -> Any:
        return model.critic_optimizer.apply([kept[id(variable)] for variable in judged], judged)

    parts = {
        "lab": lab,
        "generator forward": forward,
        "generator forward and backward": forward_and_backward,
        "critic": critic,
        "generator's loss": adversarial,
        "generator's optimizer": generator_optimizer,
        "critic's optimizer": critic_optimizer,
    }
    if isinstance(model, gan.WassersteinGANGP):
        parts["penalty"] = penalty
    return parts


def separated(parts: Mapping[str, float]) -> dict[str, float]:
    """Parts that hold others, without them: the generator's backward pass, the critic without its penalty."""
    told = dict(parts)
    forward = told["generator forward"]
    told["generator backward"] = told.pop("generator forward and backward") - forward
    if "penalty" in told:
        told["critic"] -= told["penalty"]
    order = [*("lab", "generator forward", "generator backward", "critic", "penalty", "generator's loss")]
    order += ["generator's optimizer", "critic's optimizer"]
    return {name: told[name] for name in order if name in told}


def work(recipe_name: str, *changes: str) -> None:
    """In a worker: make a GAN and a batch, and time what is asked for."""
    import resource
    import statistics

    import numpy as np
    import tensorflow as tf

    from benchmarks import operations
    from kcolor import build, recipe

    chosen = recipe.load(recipe.find(recipe_name), list(changes))
    model = build.color_gan(chosen, CLASSES, steps=1000)
    turn, size, batch = chosen.objective.critic_steps, chosen.data.size, chosen.train.batch_size
    random = np.random.default_rng(0)
    pictures = tf.constant(random.integers(0, 256, (batch, size, size, 3), np.uint8))
    data = (pictures, tf.constant(random.integers(0, CLASSES, batch), tf.int32))
    step = tf.function(model.train_step, autograph=False)
    for _ in range(turn):
        step(data)

    def counted() -> dict[str, int]:
        """Of one batch of each part; "turn" of all that a turn does."""
        parts = separated({name: operations.count(part) for name, part in parts_of(model, data).items()})
        parts = {name: number for name, number in parts.items() if number}
        critic = parts["generator forward"] + parts["critic"] + parts.get("penalty", 0)
        # The graph of a step has the generator's part in it, whether it is its turn or not.
        return {**parts, "turn": operations.count(model.train_step, data) + (turn - 1) * critic}

    def timed(function: Callable[[], Any]) -> float:
        started = time.perf_counter()
        function()
        tf.test.experimental.sync_devices()
        return time.perf_counter() - started

    def a_turn() -> None:
        for _ in range(turn):
            step(data)

    def answer(what: str, rounds: int = 3) -> dict[str, float]:
        if what == "turn":
            return {"seconds": timed(a_turn)}
        if what == "operations":
            return counted()
        if what == "rate":
            dtype = "bfloat16" if "bfloat16" in chosen.train.precision else "float32"
            return {"operations_a_second": operations.product_rate(dtype)}
        if what == "memory":
            return {"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
        traced = {name: tf.function(part, autograph=False) for name, part in parts_of(model, data).items()}
        for part in traced.values():
            part()
        seconds: dict[str, list[float]] = {name: [] for name in traced}
        for _ in range(rounds):
            for name, part in traced.items():
                seconds[name].append(timed(part))
        return separated({name: statistics.median(times) for name, times in seconds.items()})

    turns.serve({"batch": batch, "size": size, "batches_a_turn": turn}, answer)
