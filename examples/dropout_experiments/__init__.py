"""The experiments of the dropout paper, a file each; `examples/dropout_paper.py` runs them."""
