"""ChromaGAN's generator, and VGG-16 as far as others share it: functional Keras models of stock layers.

Vitoria, Raad and Ballester, "ChromaGAN: Adversarial Picture Colorization with Semantic Class Distribution", WACV 2020.
VGG-16 is configuration D of Simonyan and Zisserman, ICLR 2015, its layers named as in `keras.applications`. The class
branch has the names that `kcolor.networks` gives its own, so that what is done with one is done with both.
"""

from typing import Any

import keras
from keras import layers

# Of VGG-16: the convolutions of each block, and their channels in widths of the first.
VGG_BLOCKS = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))

# What ImageNet's pictures are on average, in the order in which keras.applications' VGG-16 takes channels.
_MEAN_BGR = (103.939, 116.779, 123.68)

# Pictures are a multiple of this: three poolings of VGG-16 and two strides of the global branch.
STEP = 32


def chromagan(
    classes: int = 1000,
    size: int = 224,
    *,
    width: int = 64,
    dtype: str = "float32",
) -> keras.Model:
    """ChromaGAN's generator: colours by VGG-16's features, and by what the whole picture shows.

    L goes through VGG-16 to its fourth block's last convolution (8 `width` channels at an eighth of the size). From
    there a global branch of four 3x3 convolutions (strides 2, 1, 2, 1; ReLU, batch normalization), flattened, leads by
    three dense layers (16, 8 and 4 `width`, without activation, as in the authors' code) to a vector that is repeated
    over all positions, and by two more (64 `width` each, the same) to the classes. A middle branch of two convolutions
    (8 and 4 `width`) is concatenated with the former; six more convolutions and three nearest-neighbour enlargements
    make ab of it; tanh stands before the last of them. With the default arguments 171,166,090 trainable parameters.

    Args:
        classes: Number of classes; 0: no class head, and no logits.
        size: Height and width of the pictures; a multiple of 32.
        width: Channels of VGG-16's first block, from which all others follow.
        dtype: Keras dtype policy; the outputs are float32 under any.

    Returns:
        A model from L (batch, size, size, 1) to ``{"ab": (batch, size, size, 2), "logits": (batch, classes)}``; L and
        ab are scaled to [-1, 1].

    Raises:
        ValueError: `size` is not a multiple of 32, or there is one class.
    """
    if size < 1 or size % STEP:
        raise ValueError(f"size {size} is not a multiple of {STEP}")
    if classes < 0 or classes == 1:
        raise ValueError(f"the class branch needs at least 2 classes, not {classes}")
    l = keras.Input((size, size, 1), name="l")
    seen = vgg16_features(l, width, blocks=4, dtype=dtype)

    x = seen
    for i, strides in enumerate((2, 1, 2, 1)):
        x = _normalized(x, 8 * width, f"global_{i}", dtype, strides=strides)
    whole = x = layers.Flatten(dtype=dtype, name="scene")(x)
    for i, units in enumerate((16 * width, 8 * width, 4 * width)):
        x = layers.Dense(units, dtype=dtype, name=f"fusion_{i}")(x)
    side = size // 8
    x = layers.RepeatVector(side * side, dtype=dtype, name="fusion_repeat")(x)
    everywhere = layers.Reshape((side, side, 4 * width), dtype=dtype, name="fusion_reshape")(x)

    x = _normalized(seen, 8 * width, "middle_0", dtype)
    x = _normalized(x, 4 * width, "middle_1", dtype)
    x = layers.Concatenate(dtype=dtype, name="fusion")([x, everywhere])
    ab = _decode(x, width, dtype)
    if not classes:
        return keras.Model(l, {"ab": ab}, name="generator")

    x = whole
    for i in range(2):
        x = layers.Dense(64 * width, dtype=dtype, name=f"classifier_{i}")(x)
    logits = layers.Dense(classes, dtype=dtype, name="classifier_2")(x)
    logits = layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(l, {"ab": ab, "logits": logits}, name="generator")


def vgg16_features(l: Any, width: int = 64, *, blocks: int, dtype: str = "float32") -> Any:
    """What VGG-16 makes of L: the output of a block's last convolution, behind its ReLU.

    VGG-16 is shown a grey picture as it was shown its own in training: L from 0 to 255, three times, less the mean
    of ImageNet's pictures.

    Args:
        l: L (batch, size, size, 1), scaled to [-1, 1].
        width: Channels of the first block; 64 in VGG-16.
        blocks: How many of its five.
        dtype: Keras dtype policy.

    Returns:
        (batch, size / 2**(blocks - 1), size / 2**(blocks - 1), channels).
    """
    x = layers.Concatenate(dtype="float32", name="l_thrice")([l, l, l])
    offsets = [127.5 - mean for mean in _MEAN_BGR]
    x = layers.Rescaling(127.5, offsets, dtype="float32", name="vgg_input")(x)
    for block, (convolutions, times) in enumerate(VGG_BLOCKS[:blocks], start=1):
        for i in range(1, convolutions + 1):
            x = _conv(x, times * width, f"block{block}_conv{i}", dtype)
        if block < blocks:
            x = layers.MaxPooling2D(dtype=dtype, name=f"block{block}_pool")(x)
    return x


def _decode(x: Any, width: int, dtype: str) -> Any:
    x = _conv(x, 4 * width, "decoder_0_conv", dtype, kernel=1)
    x = _conv(x, 2 * width, "decoder_1_conv", dtype)
    x = layers.UpSampling2D(dtype=dtype, name="decoder_1_up")(x)
    x = _conv(x, width, "decoder_2_conv", dtype)
    x = _conv(x, width, "decoder_3_conv", dtype)
    x = layers.UpSampling2D(dtype=dtype, name="decoder_3_up")(x)
    x = _conv(x, max(width // 2, 1), "decoder_4_conv", dtype)
    x = layers.Conv2D(2, 3, padding="same", dtype=dtype, name="output_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="output_tanh")(x)
    return layers.UpSampling2D(dtype="float32", name="ab")(x)


def _normalized(x: Any, channels: int, name: str, dtype: str, *, strides: int = 1) -> Any:
    x = _conv(x, channels, f"{name}_conv", dtype, strides=strides)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype, name=f"{name}_norm")(x)


def _conv(x: Any, channels: int, name: str, dtype: str, *, kernel: int = 3, strides: int = 1) -> Any:
    return layers.Conv2D(channels, kernel, strides, "same", activation="relu", dtype=dtype, name=name)(x)
