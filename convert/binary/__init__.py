"""Binary and ternary networks: from trained layers to C that does 32 multiply-accumulates in a few instructions.

net.py says what a network is and how its numbers lie in words; container.py is its file; reference.py runs it in NumPy;
source.py writes its C; view.py shows it to the rest of the pipeline as a graph; family.py puts it into the build.
"""
