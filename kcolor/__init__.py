"""kcolor: automatic colorization of black-and-white photographs, in Keras 3 on TensorFlow."""

__version__ = "0.1.0"
