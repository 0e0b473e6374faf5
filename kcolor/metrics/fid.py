"""The Fréchet distance between two sets of feature vectors. 0 is best.

Dowson and Landau, "The Fréchet Distance between Multivariate Normal Distributions", Journal of Multivariate Analysis
12(3), 1982; with the features of one certain Inception it is the FID of Heusel et al., "GANs Trained by a Two
Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017. With those of another network it is not.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kcolor.metrics.base import Summed, weights


@keras.saving.register_keras_serializable("kcolor")
class FrechetDistance(Summed):
    """The distance between the normal distributions that have the moments of the features of truth and prediction.

    Only sums are kept: of the features, and of the products of each two. The covariances are unbiased. NaN while either
    side has seen nothing; of one vector alone the covariance is taken for zero.

    Keras asks a compiled metric for its result after every batch, and in 2048 dimensions that is an eigenvalue problem
    of many seconds: there, update by hand and ask once. The network of the features is not part of the config:
    ``FrechetDistance.from_config(config | {"features": features})``.

    Args:
        dimensions: The length of a feature vector.
        features: Makes feature vectors (batch, dimensions) of what is given to `update_state`; if None, that is feature
            vectors already.
        name: The name of the figure.
        dtype: The type of the figure.
    """

    def __init__(
        self,
        dimensions: int = 2048,
        features: Callable[[Any], tf.Tensor] | None = None,
        name: str = "frechet_distance",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.dimensions = dimensions
        self.features = features
        self._truth = self._moments("truth")
        self._prediction = self._moments("prediction")

    def update_state(self, truth: Any, prediction: Any, sample_weight: Any = None) -> None:
        """Add a batch to both sides."""
        self.update_truth(truth, sample_weight)
        self.update_prediction(prediction, sample_weight)

    def update_truth(self, truth: Any, sample_weight: Any = None) -> None:
        """Add a batch to the true side; the two sides need not have as many."""
        self._update(self._truth, truth, sample_weight)

    def update_prediction(self, prediction: Any, sample_weight: Any = None) -> None:
        """Add a batch to the predicted side."""
        self._update(self._prediction, prediction, sample_weight)

    def result(self) -> tf.Tensor:
        """The distance, a scalar."""
        return self.figure(
            frechet_distance(*_mean_and_covariance(self._truth), *_mean_and_covariance(self._prediction))
        )

    @property
    def warning(self) -> str | None:
        """Why the figure is not to be trusted, if a side has no more samples than dimensions; not in a graph."""
        fewest = min(float(self._truth[0].value), float(self._prediction[0].value))
        if fewest > self.dimensions:
            return None
        return (
            f"{fewest:.0f} samples do not determine a covariance in {self.dimensions} dimensions: "
            "the distance is biased, and not to be compared with one of more samples"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments, but for the network."""
        return super().get_config() | {"dimensions": self.dimensions}

    def _moments(self, name: str) -> tuple[keras.Variable, ...]:
        d = self.dimensions
        return self.add_sum(f"{name}_count"), self.add_sum(f"{name}_sum", (d,)), self.add_sum(f"{name}_square", (d, d))

    def _update(self, sums: tuple[keras.Variable, ...], given: Any, sample_weight: Any) -> None:
        features = tf.cast(given if self.features is None else self.features(given), tf.float64)
        if not features.shape.is_compatible_with([None, self.dimensions]):
            raise ValueError(f"features are (batch, {self.dimensions}), not {features.shape}")
        weight = weights(sample_weight, features)
        weighted = tf.math.multiply_no_nan(features, weight[:, None])
        # The other factor is to be without NaN as well where the weight is zero.
        counted = tf.where(weight[:, None] == 0.0, tf.zeros_like(features), features)
        count, total, square = sums
        count.assign_add(tf.reduce_sum(weight))
        total.assign_add(tf.reduce_sum(weighted, axis=0))
        square.assign_add(tf.matmul(weighted, counted, transpose_a=True))


def frechet_distance(
    mean_1: tf.Tensor, covariance_1: tf.Tensor, mean_2: tf.Tensor, covariance_2: tf.Tensor
) -> tf.Tensor:
    """The squared Fréchet distance between two normal distributions, ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``.

    The trace of the root is that of ``(C1^(1/2) C2 C1^(1/2))^(1/2)``, the sum of the roots of the eigenvalues of a
    symmetric matrix: no root of the product is needed, which is not symmetric, and often singular.

    Args:
        mean_1: (dimensions,).
        covariance_1: (dimensions, dimensions).
        mean_2: (dimensions,).
        covariance_2: (dimensions, dimensions).

    Returns:
        A float64 scalar, not negative.
    """
    mean_1, covariance_1, mean_2, covariance_2 = (
        tf.cast(moment, tf.float64) for moment in (mean_1, covariance_1, mean_2, covariance_2)
    )
    values, vectors = tf.linalg.eigh(covariance_1)
    root = tf.matmul(vectors * tf.sqrt(tf.maximum(values, 0.0)), vectors, transpose_b=True)
    inner = root @ covariance_2 @ root
    eigenvalues = tf.linalg.eigvalsh((inner + tf.transpose(inner)) / 2.0)
    of_root = tf.reduce_sum(tf.sqrt(tf.maximum(eigenvalues, 0.0)))
    distance = tf.reduce_sum(tf.math.squared_difference(mean_1, mean_2))
    distance += tf.linalg.trace(covariance_1) + tf.linalg.trace(covariance_2) - 2.0 * of_root
    return tf.maximum(distance, 0.0)


def _mean_and_covariance(sums: tuple[keras.Variable, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    count, total, square = (variable.value for variable in sums)
    mean = total / count
    scatter = square - total[:, None] * mean[None, :]
    return mean, tf.where(count > 1.0, scatter / (count - 1.0), tf.zeros_like(scatter))
