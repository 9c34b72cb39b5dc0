import fuzz_paths  # noqa: F401  (makes the builders importable)
