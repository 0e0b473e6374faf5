"""The networks: functional Keras models of stock layers, made from plain arguments.

Width and depth follow arguments, so that small pictures and small machines have their network too. Layers are
named ``encoder_0_conv``, ``encoder_1_norm``, ``decoder_0_conv``, ``fusion_0``, … counted from the input.

Weights start as Keras' own layers start them, Glorot-uniform (Glorot and Bengio, AISTATS 2010), as in the report's
implementation. Batch normalization keeps 0.9 of its moving statistics at each step and adds 1e-5 to the variance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

# The last layer of the class head: the only one whose shape depends on the classes.
_HEAD = "classifier_2"

# The layer that takes what the class branch gives, the scene, to all positions.
_SCENE_TAKEN = "fusion_repeat"

# The first layer of the class branch that is its own: of a U-Net, and of ChromaGAN.
_SCENE_SEEN = ("class_encoder_0_conv", "global_0_conv")

# The encoder blocks that the class branch of a U-Net shares.
_SHARED = 3


def unet(
    size: int = 256,
    *,
    width: int = 64,
    depth: int = 8,
    max_width: int = 512,
    dropout: float = 0.5,
    dtype: str = "float32",
) -> keras.Model:
    """The generator: a U-Net that predicts ab from L.

    `depth` encoder blocks (4x4 convolution of stride 2, batch normalization but in the first, LeakyReLU 0.2)
    of `width`, 2 `width`, 4 `width`, … channels, at most `max_width`; as many decoder blocks (transposed
    convolution, batch normalization, dropout in the first three, ReLU) with skip connections; tanh.
    Isola et al., CVPR 2017, section 6.1.1; with the default arguments 54,410,882 trainable parameters.

    Args:
        size: Height and width of the pictures; a multiple of 2**depth.
        width: Channels of the first block.
        depth: Number of encoder blocks.
        max_width: The most channels that a block has.
        dropout: Share of values dropped in the first three decoder blocks.
        dtype: Keras dtype policy; the output is float32 under any.

    Returns:
        A model from L (batch, size, size, 1) to ``{"ab": (batch, size, size, 2)}``, all scaled to [-1, 1].

    Raises:
        ValueError: `size` is not a multiple of 2**depth, or depth is under 2.
    """
    _check(size, depth)
    l = keras.Input((size, size, 1), name="l")
    skips = _encode(l, _widths(width, depth, max_width), dtype)
    ab = _decode(skips[-1], skips[:-1], dropout, dtype)
    return keras.Model(l, {"ab": ab}, name="generator")


def unet_with_class_branch(
    classes: int,
    size: int = 256,
    *,
    width: int = 64,
    depth: int = 8,
    max_width: int = 512,
    dropout: float = 0.5,
    dtype: str = "float32",
) -> keras.Model:
    """`unet` with a branch that names the scene and is fused into the bottleneck.

    From the input of the fourth encoder block, three more encoder blocks, flattened. Two dense layers
    (LeakyReLU 0.2) lead from there to the bottleneck, where they are repeated over its positions and
    concatenated; a head of two dense layers (ReLU, dropout) leads to the classes. Saccaro, "Automatic Image
    Colorization with Adversarial and Classification Losses", 2023. The dense layers are 16 and 8 `width` (to
    the bottleneck), 32 and 16 `width` (to the classes): 1024, 512, 2048 and 1024 by default, which gives
    97,096,015 trainable parameters with 205 classes.

    Args:
        classes: Number of classes.
        size: As in `unet`, at least 64.
        width: As in `unet`.
        depth: As in `unet`, at least 4.
        max_width: As in `unet`.
        dropout: As in `unet`, and in the head.
        dtype: As in `unet`.

    Returns:
        A model from L (batch, size, size, 1) to ``{"ab": (batch, size, size, 2), "logits": (batch, classes)}``.

    Raises:
        ValueError: As `unet`; or depth is under 4, size under 64, or there are fewer than two classes.
    """
    _check(size, depth)
    if depth < 4 or size < 64:
        raise ValueError(f"the class branch needs depth >= 4 and size >= 64, not {depth} and {size}")
    if classes < 2:
        raise ValueError(f"the class branch needs at least 2 classes, not {classes}")
    l = keras.Input((size, size, 1), name="l")
    skips = _encode(l, _widths(width, depth, max_width), dtype)

    x = skips[_SHARED - 1]
    for i in range(3):
        x = _down(x, min(8 * width, max_width), f"class_encoder_{i}", dtype)
    scene = layers.Flatten(name="scene", dtype=dtype)(x)

    x = scene
    for i, units in enumerate((16 * width, 8 * width)):
        x = layers.Dense(units, dtype=dtype, name=f"fusion_{i}")(x)
        x = layers.LeakyReLU(0.2, dtype=dtype, name=f"fusion_{i}_relu")(x)
    side = size // 2**depth
    x = layers.RepeatVector(side * side, dtype=dtype, name="fusion_repeat")(x)
    x = layers.Reshape((side, side, 8 * width), dtype=dtype, name="fusion_reshape")(x)
    bottleneck = layers.Concatenate(dtype=dtype, name="fusion")([skips[-1], x])
    ab = _decode(bottleneck, skips[:-1], dropout, dtype)

    x = scene
    for i, units in enumerate((32 * width, 16 * width)):
        x = layers.Dense(units, activation="relu", dtype=dtype, name=f"classifier_{i}")(x)
        x = layers.Dropout(dropout, dtype=dtype, name=f"classifier_{i}_dropout")(x)
    logits = layers.Dense(classes, dtype=dtype, name=_HEAD)(x)
    logits = layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(l, {"ab": ab, "logits": logits}, name="generator")


def patchgan(
    size: int = 256, *, width: int = 64, strided: int = 3, normalize: bool = True, dtype: str = "float32"
) -> keras.Model:
    """The critic: a PatchGAN on L and ab, one score a patch.

    `strided` 4x4 convolutions of stride 2 and two of stride 1, LeakyReLU 0.2 between; each position of the
    output sees a square of the picture and nothing else: 70x70 with 3 strided blocks (Isola et al., CVPR 2017,
    section 6.1.2), 34x34 with 2, 16x16 with 1. By default 2,765,569 trainable parameters, 2,763,777 without
    normalization, and 30x30 patches of a 256x256 picture.

    Args:
        size: Height and width of the pictures.
        width: Channels of the first block; doubled in each next one, up to 8 times.
        strided: Number of blocks of stride 2.
        normalize: Batch normalization in all but the first and last block. A gradient penalty needs it off: it
            holds for single pictures, and batch normalization makes each score depend on the whole batch.
        dtype: Keras dtype policy; the output is float32 under any.

    Returns:
        A model from [L (batch, size, size, 1), ab (batch, size, size, 2)] to (batch, patches, patches, 1):
        logits for a conditional GAN, scores for a Wasserstein critic.
    """
    l = keras.Input((size, size, 1), name="l")
    ab = keras.Input((size, size, 2), name="ab")
    x = layers.Concatenate(dtype=dtype, name="lab")([l, ab])
    for i in range(strided):
        x = _down(x, width * min(2**i, 8), f"critic_{i}", dtype, normalize=normalize and i > 0)
    x = layers.ZeroPadding2D(1, dtype=dtype, name=f"critic_{strided}_pad")(x)
    x = _conv(x, width * min(2**strided, 8), f"critic_{strided}_conv", dtype, strides=1, padding="valid")
    if normalize:
        x = _norm(x, f"critic_{strided}_norm", dtype)
    x = layers.LeakyReLU(0.2, dtype=dtype, name=f"critic_{strided}_relu")(x)
    x = layers.ZeroPadding2D(1, dtype=dtype, name="critic_output_pad")(x)
    x = _conv(x, 1, "critic_output_conv", dtype, strides=1, padding="valid", use_bias=True)
    scores = layers.Activation("linear", dtype="float32", name="scores")(x)
    return keras.Model([l, ab], scores, name="critic")


@dataclass(frozen=True)
class Layout:
    """What the arguments of a generator of kcolor have been.

    Args:
        kind: "unet" or "chromagan".
        size: Height and width of its pictures.
        widths: Channels of its encoder blocks; of ChromaGAN, of the first alone, from which the others follow.
        classes: Number of its classes; 0 without the class branch.
    """

    kind: str
    size: int
    widths: tuple[int, ...]
    classes: int


def layout(generator: keras.Model) -> Layout:
    """The layout of a generator as from `unet`, `unet_with_class_branch` or `kcolor.chromagan`.

    Raises:
        ValueError: It is another model.
    """
    filters = {layer.name: getattr(layer, "filters", 0) for layer in generator.layers}
    widths: list[int] = []
    while f"encoder_{len(widths)}_conv" in filters:
        widths.append(filters[f"encoder_{len(widths)}_conv"])
    kind = "chromagan" if "global_0_conv" in filters and "block1_conv1" in filters else "unet"
    if kind == "chromagan":
        widths = [filters["block1_conv1"]]
    if not widths:
        raise ValueError("no encoder_0_conv in it: not a generator of kcolor")
    logits = generator.output.get("logits")
    return Layout(kind, generator.input_shape[1], tuple(widths), 0 if logits is None else logits.shape[-1])


def copy_weights(source: keras.Model, target: keras.Model, *, head: bool = True) -> None:
    """Give a generator the weights of another, the statistics of normalization among them.

    Args:
        source: Of the same layers, by their names.
        target: Whose weights are set.
        head: Also the last layer of the class head, which may be of another number of classes.

    Raises:
        ValueError: A layer is not in both, or not of one shape; nothing is set.
    """
    left, right = (
        {layer.name: layer.weights for layer in model.layers if layer.weights and (head or layer.name != _HEAD)}
        for model in (source, target)
    )
    pairs: list[tuple[keras.Variable, keras.Variable]] = []
    for name in left | right:
        shapes = [[tuple(w.shape) for w in weights.get(name, [])] for weights in (left, right)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"the layer {name} has {shapes[0] or 'no'} weights, not {shapes[1] or 'no'}")
        pairs += zip(left[name], right[name], strict=True)
    for theirs, ours in pairs:
        ours.assign(theirs)


def has_class_branch(generator: keras.Model) -> bool:
    """Whether a generator is one as from `unet_with_class_branch`, or a ChromaGAN with classes."""
    return "logits" in generator.output and _SCENE_TAKEN in {layer.name for layer in generator.layers}


def scene_encoder(generator: keras.Model) -> keras.Model:
    """What the class branch of a generator gives to the bottleneck.

    Args:
        generator: As from `unet_with_class_branch`, or a ChromaGAN with classes; its layers are shared.

    Returns:
        A model from L (batch, size, size, 1) to (batch, 8 width), of ChromaGAN (batch, 4 width).

    Raises:
        ValueError: It has no class branch.
    """
    _check_branch(generator)
    return _up_to(generator, _SCENE_TAKEN, "scene_encoder")


def with_scene(generator: keras.Model, scene: np.ndarray) -> keras.Model:
    """A generator whose bottleneck is given the same of every picture, in place of what its class branch gives.

    Args:
        generator: As from `unet_with_class_branch`, or a ChromaGAN with classes; its layers are shared, and it stays as
            it is.
        scene: What is given, as `scene_encoder` gives it, without the batch.

    Returns:
        A model of the same inputs and outputs; the logits are what they were.

    Raises:
        ValueError: It has no class branch, or one of another width.
    """
    _check_branch(generator)

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer.name != _SCENE_TAKEN:
            return layer(*args, **kwargs)
        (seen,) = args
        if seen.shape[1:] != scene.shape:
            raise ValueError(f"a scene is {seen.shape[1]} numbers here, not of shape {scene.shape}")
        return layer(keras.ops.zeros_like(seen) + keras.ops.convert_to_tensor(scene, seen.dtype), **kwargs)

    return _called_otherwise(generator, call)


def with_dropout(generator: keras.Model) -> keras.Model:
    """A generator whose dropout, and nothing else of it, is as in training when it is called without ``training``.

    Batch normalization keeps to its moving statistics, and moves none. With noise of this kind the same photo has many
    colourings (Isola et al., CVPR 2017, section 3.2, where it is the only noise there is).

    Args:
        generator: As from `unet` or `unet_with_class_branch`; its layers are shared, and it stays as it is.

    Raises:
        ValueError: It has no dropout; see `dropouts`.
    """
    active = dropouts(generator)
    if not active:
        raise ValueError("it has no dropout")

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        # Every layer is told, since one that is not takes the word given to the layer before it.
        told = {"training": layer in active} if isinstance(layer, keras.Layer) else {}
        return layer(*args, **{**kwargs, **told})

    return _called_otherwise(generator, call)


def resized(generator: keras.Model, size: int) -> keras.Model:
    """A generator for pictures of another size than the one it was made for.

    The networks are convolutional, and see more, or less, of a picture at the scale they were trained at. A class
    branch is not: it goes on seeing the whole picture at the size it was trained at, to which L is brought for it, and
    what it says is repeated over more, or fewer, positions.

    Args:
        generator: As from `unet`, `unet_with_class_branch` or `kcolor.chromagan`; its layers are shared, and it stays
            as it is.
        size: Height and width of the pictures; a multiple of 2**depth, of ChromaGAN of 8.

    Returns:
        A model from L (batch, size, size, 1) to what the generator gives, its ab (batch, size, size, 2).

    Raises:
        ValueError: The size is no such multiple, or it is another model.
    """
    made_for = layout(generator)
    if made_for.kind == "unet":
        _check(size, len(made_for.widths))
    elif size < 1 or size % 8:
        raise ValueError(f"size {size} is not a multiple of 8")
    new: dict[str, keras.Layer] = {}
    if _SCENE_TAKEN in {layer.name for layer in generator.layers}:
        repeat, reshape = generator.get_layer(_SCENE_TAKEN), generator.get_layer("fusion_reshape")
        own, _, channels = reshape.target_shape
        side = own * size // made_for.size
        new[repeat.name] = layers.RepeatVector.from_config({**repeat.get_config(), "n": side * side})
        new[reshape.name] = layers.Reshape.from_config({**reshape.get_config(), "target_shape": (side, side, channels)})
    l = keras.Input((size, size, 1), name="l")

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer.name not in _SCENE_SEEN:
            return layer(*args, **kwargs)
        # By the method and not as a layer, so that its own layers come to stand in the new model.
        return layer(_up_to(generator, layer.name, "seen").call(resample(l, made_for.size)), **kwargs)

    return keras.models.clone_model(
        generator, input_tensors=l, clone_function=lambda layer: new.get(layer.name, layer), call_function=call
    )


def dropouts(generator: keras.Model) -> list[keras.Layer]:
    """The layers of a generator that drop values in training; one whose rate is 0 is none."""
    return [layer for layer in generator.layers if isinstance(layer, layers.Dropout) and layer.rate > 0]


def resample(x: Any, size: int) -> Any:
    """Bring square pictures (batch, side, side, 1) to another side, antialiased; symbolic tensors or others."""
    # As two products with one matrix, since LiteRT has no operation that resizes with antialiasing. Resizing is linear:
    # the matrix is what it makes of the unit vectors.
    side = x.shape[1]
    rows = keras.ops.image.resize(keras.ops.eye(side)[..., None], (size, side), antialias=True)[..., 0]
    return keras.ops.einsum("ij,bjkc,lk->bilc", rows, x, rows)


def _check_branch(generator: keras.Model) -> None:
    if not has_class_branch(generator):
        raise ValueError("it has no class branch")


def _called_otherwise(generator: keras.Model, call: Callable[..., Any]) -> keras.Model:
    """A model of the very layers of another, and so of its weights, without a copy; `call` says how each is called."""
    return keras.models.clone_model(generator, clone_function=lambda layer: layer, call_function=call)


def _up_to(generator: keras.Model, name: str, called: str) -> keras.Model:
    """The part of a generator that leads to what a layer of that name is given."""
    given: list[Any] = []

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        given.extend([args[0]] if layer.name == name else [])
        return layer(*args, **kwargs)

    whole = _called_otherwise(generator, call)
    return keras.Model(whole.input, given[0], name=called)


def _check(size: int, depth: int) -> None:
    if depth < 2:
        raise ValueError(f"a U-Net needs depth >= 2, not {depth}")
    if size < 1 or size % 2**depth:
        raise ValueError(f"size {size} is not a multiple of 2**depth = {2**depth}")


def _widths(width: int, depth: int, max_width: int) -> list[int]:
    return [min(width * 2**i, max_width) for i in range(depth)]


def _encode(l: Any, widths: list[int], dtype: str) -> list[Any]:
    """The outputs of all encoder blocks, the bottleneck last."""
    outputs = [l]
    for i, channels in enumerate(widths):
        outputs.append(_down(outputs[-1], channels, f"encoder_{i}", dtype, normalize=i > 0))
    return outputs[1:]


def _decode(x: Any, skips: list[Any], dropout: float, dtype: str) -> Any:
    for i, skip in enumerate(reversed(skips)):
        x = _up(x, skip.shape[-1], f"decoder_{i}_conv", dtype, use_bias=False)
        x = _norm(x, f"decoder_{i}_norm", dtype)
        if i < 3:
            x = layers.Dropout(dropout, dtype=dtype, name=f"decoder_{i}_dropout")(x)
        x = layers.ReLU(dtype=dtype, name=f"decoder_{i}_relu")(x)
        x = layers.Concatenate(dtype=dtype, name=f"decoder_{i}_skip")([x, skip])
    x = _up(x, 2, "output_conv", dtype, use_bias=True)
    return layers.Activation("tanh", dtype="float32", name="ab")(x)


def _down(x: Any, channels: int, name: str, dtype: str, *, normalize: bool = True) -> Any:
    x = _conv(x, channels, f"{name}_conv", dtype)
    if normalize:
        x = _norm(x, f"{name}_norm", dtype)
    return layers.LeakyReLU(0.2, dtype=dtype, name=f"{name}_relu")(x)


def _conv(
    x: Any, channels: int, name: str, dtype: str, *, strides: int = 2, padding: str = "same", use_bias: bool = False
) -> Any:
    return layers.Conv2D(
        channels,
        4,
        strides,
        padding,
        use_bias=use_bias,
        dtype=dtype,
        name=name,
    )(x)


def _up(x: Any, channels: int, name: str, dtype: str, *, use_bias: bool) -> Any:
    return layers.Conv2DTranspose(
        channels,
        4,
        2,
        "same",
        use_bias=use_bias,
        dtype=dtype,
        name=name,
    )(x)


def _norm(x: Any, name: str, dtype: str) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype, name=name)(x)
