"""The Keras side: recipes, data sets, architectures and compression. Knows nothing of firmware."""
