"""A model in two images: firmware, and weights that can be replaced without it. docs/two_images.md."""
