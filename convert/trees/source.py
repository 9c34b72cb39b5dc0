"""C of a small model: its constants and the few functions that it needs, behind tree_model.h."""

from convert import emit
from convert.trees.bonsai import TANH, U_MAX, Bonsai
from convert.trees.container import Model
from convert.trees.decision import DecisionTree
from convert.trees.protonn import ProtoNN

_CODE, _HEADER = "tree_model.c", "tree_model.h"
_H = "trees/tree_model.h.j2"


def render(tree: Model, sha256: str) -> dict[str, str]:
    """The C source by file name; the same model gives the same bytes."""
    if isinstance(tree, DecisionTree):
        return _decision(tree, sha256)
    return _bonsai(tree, sha256) if isinstance(tree, Bonsai) else _protonn(tree, sha256)


def _decision(tree: DecisionTree, sha256: str) -> dict[str, str]:
    types = {1: "uint8_t", 2: "uint16_t"}
    context = {
        "tree": tree,
        "sha256": sha256,
        "what": "decision tree",
        "title": f"Decision tree of {tree.nodes} nodes: {tree.features} features, {tree.classes} classes",
        "feature_type": types[tree.feature_bytes],
        "other_type": types[tree.other_bytes],
    }
    return {_CODE: emit.render("trees/decision_tree.c.j2", context), _HEADER: emit.render(_H, context)}


def _protonn(model: ProtoNN, sha256: str) -> dict[str, str]:
    context = {
        "tree": model,
        "sha256": sha256,
        "what": "ProtoNN model",
        "title": f"ProtoNN of {model.prototypes} prototypes: {model.features} features, projected to "
        f"{model.projection}, {model.classes} classes",
        "coded": model.coded,
    }
    return {
        _CODE: emit.render("trees/protonn_model.c.j2", context),
        _HEADER: emit.render(_H, context),
    }


def _bonsai(tree: Bonsai, sha256: str) -> dict[str, str]:
    columns, projection = tree.columns, tree.projection
    inner, leaf = (1 + 2 * columns) * projection, 2 * columns * projection
    nodes = tree.coded_nodes
    context = {
        "tree": tree,
        "sha256": sha256,
        "what": "tree",
        "title": f"Bonsai of depth {tree.depth}: {tree.features} features, projected to {tree.projection}, "
        f"{tree.classes} classes",
        "z": tree.coded_z,
        "nodes": nodes,
        "tanh": TANH,
        "u_max": U_MAX,
        # Values, or bytes of the bitmap, that an inner node and a leaf take.
        "inner_stride": (inner + 7) // 8 if nodes.sparse else inner,
        "leaf_stride": (leaf + 7) // 8 if nodes.sparse else leaf,
    }
    return {name: emit.render(f"trees/{name}.j2", context) for name in (_CODE, _HEADER)}
