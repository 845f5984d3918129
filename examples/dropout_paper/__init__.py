"""The dropout paper's experiments, a file each; `python examples/dropout_paper` runs them."""
