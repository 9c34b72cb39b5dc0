"""C of a tree: its constants and the few functions that it needs, behind tree_model.h."""

from convert import emit
from convert.trees.bonsai import TANH, U_MAX, Bonsai


def render(tree: Bonsai, sha256: str) -> dict[str, str]:
    """The C source by file name; the same tree gives the same bytes."""
    columns, projection = tree.columns, tree.projection
    inner, leaf = (1 + 2 * columns) * projection, 2 * columns * projection
    nodes = tree.coded_nodes
    context = {
        "tree": tree,
        "sha256": sha256,
        "z": tree.coded_z,
        "nodes": nodes,
        "tanh": TANH,
        "u_max": U_MAX,
        # Values, or bytes of the bitmap, that an inner node and a leaf take.
        "inner_stride": (inner + 7) // 8 if nodes.sparse else inner,
        "leaf_stride": (leaf + 7) // 8 if nodes.sparse else leaf,
    }
    return {name: emit.render(f"trees/{name}.j2", context) for name in ("tree_model.c", "tree_model.h")}
