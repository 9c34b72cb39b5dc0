"""Trees for the smallest boards: Bonsai in fixed point, from trained weights to C.

bonsai.py turns trained weights into integers; coding.py and container.py say how they are stored; reference.py runs
them in NumPy, bit by bit as the C of source.py does; view.py shows a tree to the rest of the pipeline as a graph.
"""
