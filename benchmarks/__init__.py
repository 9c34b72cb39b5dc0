"""Measures compiled models on an emulated Cortex-M4; see docs/benchmarks.md."""
