"""How the compiled runtime stores weights, one module a format: the packer, and a decoder in NumPy for tests."""
