"""Weight clustering as TFMOT has it, beside `share`: k-means++ entries, then weights and entries are trained together.

After Han, Mao and Dally, "Deep Compression", 2016, by TensorFlow Model Optimization's `cluster_weights`. Other than in
`share`, a weight may change its entry while it is trained, and zero is one of the entries.
"""

from typing import Any

import numpy as np

from convert.errors import UsageError
from training import backend, surgery
from training.compression import zeros
from training.fitting import TrainingData, fit
from training.settings.sharing import Cluster


def apply(model: Any, data: TrainingData, settings: Cluster) -> Any:
    """A copy of `model` with at most `settings.entries` different weights a layer.

    Raises UsageError where `skip` names an unknown layer, and RuntimeError where TFMOT left more values than asked for.
    """
    names = clustered(model, settings)
    clustering = backend.tfmot().clustering.keras
    # The option to keep zeros is in TFMOT's own module; the public function has it not.
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as experimental

    start = getattr(clustering.CentroidInitialization, _STARTS[settings.initialization])
    options = {"number_of_clusters": settings.entries, "cluster_centroids_init": start}

    def wrap(layer: Any) -> Any:
        if layer.name not in names:
            return layer
        return experimental.cluster_weights(layer, preserve_sparsity=settings.keep_zeros, **options)

    wrapped = backend.keras().models.clone_model(model, clone_function=wrap)
    fit(wrapped, data, settings, "cluster", settings.distillation)
    stripped = clustering.strip_clustering(wrapped)
    for name in names:
        values = np.unique(zeros.kernels(stripped)[name])
        if len(values) > settings.entries + settings.keep_zeros:
            raise RuntimeError(f"clustering left {len(values)} values in {name} where {settings.entries} were due")
    return surgery.rebuild(backend.with_scheme(stripped, backend.scheme(model)), {})


_STARTS = {"linear": "LINEAR", "random": "RANDOM", "density": "DENSITY_BASED", "kmeans++": "KMEANS_PLUS_PLUS"}


def clustered(model: Any, settings: Cluster) -> list[str]:
    """Names of the layers that get a codebook; depthwise kernels, which TFMOT does not cluster, are left out."""
    layers = backend.keras().layers
    kinds = layers.Conv2D | layers.Dense
    candidates = [x.name for x in model.layers if isinstance(x, kinds) and not isinstance(x, layers.DepthwiseConv2D)]
    if unknown := sorted(set(settings.skip) - set(candidates)):
        raise UsageError(
            f"compress.skip of cluster names {', '.join(map(repr, unknown))}, which the model does not have or TFMOT "
            f"does not cluster; layers that it does are {', '.join(candidates)}"
        )
    return [name for name in candidates if name not in settings.skip]
