"""Record what torch.nn's layers, losses and their functions compute: writes layers.json.

Run by hand, ``python tests/recorded/record_layers.py``, where PyTorch is installed; the tests only
read the file. It was made with PyTorch 2.13.0 on a CPU.

A case is a module or a function with its arguments, its options and what it is called with: shapes
of arrays that are drawn, lists of numbers with a gradient, or constants, ``{"labels": ...}``.
Each case has a generator of its own, so that a new one changes no other.
"""

import json
import zlib
from pathlib import Path

import numpy as np
from nested import as_tuple, flat

INF = float("inf")
#: Where activations bend, between, and far out.
LINE = [-30.0, -4.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 3.0, 6.0, 19.0, 40.0]

PADDING = [
    *[("pad", [[1, 2], mode], {}, [(2, 2, 4)]) for mode in ("constant", "reflect")],
    *[("pad", [[2, 3], mode], {}, [(2, 1, 4)]) for mode in ("replicate", "circular")],
    *[
        ("pad", [[1, 2, 0, 2], mode], {}, [(1, 2, 3, 4)])
        for mode in ("constant", "reflect", "replicate", "circular")
    ],
    *[
        ("pad", [[-1, 2], mode], {}, [(1, 2, 5)])
        for mode in ("constant", "reflect", "replicate", "circular")
    ],
    ("pad", [[1, 0, 2, -1, 0, 1]], {"value": 2.5}, [(2, 3, 2)]),
    ("ConstantPad1d", [2, 3.5], {}, [(1, 2, 3)]),
    ("ConstantPad2d", [[1, 2, 3, 0], -1.0], {}, [(1, 2, 3, 2)]),
    ("ZeroPad1d", [[0, 2]], {}, [(2, 3)]),
    ("ZeroPad2d", [1], {}, [(2, 3, 2)]),
    ("ReflectionPad1d", [2], {}, [(2, 2, 3)]),
    ("ReflectionPad2d", [[1, 0, 2, 1]], {}, [(1, 2, 3, 3)]),
    ("ReplicationPad1d", [[3, 0]], {}, [(2, 2, 2)]),
    ("ReplicationPad2d", [2], {}, [(1, 1, 2, 2)]),
    ("CircularPad1d", [3], {}, [(1, 2, 3)]),
    ("CircularPad2d", [[2, 0, 1, 1]], {}, [(1, 2, 3, 2)]),
    ("Conv1d", [2, 3, 3], {"padding": 2, "padding_mode": "circular"}, [(2, 2, 4)]),
    ("Conv1d", [2, 2, 2], {"padding": "same", "padding_mode": "replicate"}, [(2, 5)]),
    (
        *("Conv2d", [2, 3, [3, 2]]),
        {"padding": [2, 1], "padding_mode": "reflect", "stride": 2, "bias": False},
        [(1, 2, 4, 5)],
    ),
    ("Conv2d", [1, 2, 2], {"padding": "same", "dilation": 2, "padding_mode": "reflect"},
     [(1, 1, 4, 5)]),
    ("Conv2d", [1, 2, 2], {"padding": "valid", "padding_mode": "circular"}, [(1, 3, 3)]),
]  # fmt: skip

ACTIVATIONS = [
    *[
        (name, [], {}, [LINE])
        for name in (
            *("celu", "relu6", "hardswish", "softshrink", "hardshrink", "softsign"),
            *("tanhshrink", "mish"),
        )
    ],
    ("celu", [0.5], {}, [LINE]),
    ("softshrink", [1.5], {}, [LINE]),
    ("hardshrink", [1.5], {}, [LINE]),
    ("threshold", [0.5, 7.0], {}, [LINE]),
    ("softmin", [], {"dim": 1}, [(2, 3, 2)]),
    ("glu", [], {}, [(2, 3, 4)]),
    ("glu", [1], {}, [(2, 4, 3)]),
    ("prelu", [], {}, [LINE, [0.25]]),
    ("prelu", [], {}, [(2, 3, 2), (3,)]),
    ("PReLU", [], {}, [(3, 2)]),
    ("PReLU", [2], {"init": 0.5}, [(3, 2)]),
    ("GLU", [0], {}, [(4, 3)]),
    ("Softmin", [0], {}, [(2, 3)]),
    ("Softmax2d", [], {}, [(2, 3, 1, 2)]),
    ("Softmax2d", [], {}, [(3, 2, 2)]),
    ("Threshold", [0.1, 2.0], {}, [(3, 2)]),
    ("Softshrink", [0.3], {}, [(3, 2)]),
    *[
        (name, [], {}, [(3, 2)])
        for name in (
            *("CELU", "ReLU6", "Hardswish", "Hardshrink", "Softsign", "Tanhshrink"),
            *("Mish", "Hardsigmoid"),
        )
    ],
]

#: Distances of pairs, and signs for them.
PAIRS, SIGNS = [0.3, 1.0, 1.7, 0.2], {"target": [1, -1, -1, 1]}
SCORES = [[0.5, 1.5, -0.25], [1.0, 0.0, -1.0], [0.1, 0.2, 0.3], [2.0, -3.0, 0.5]]
LABELS, SEVERAL = {"labels": [0, 2, 1, 0]}, {"target": [[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]}


def reduced_losses(reduction):
    """Give the losses that are reduced, at their bends, too."""
    how = {"reduction": reduction}
    other = {"p": 1.0, "swap": True, "margin": 0.5}
    counts = {"log_input": False, "full": True, "eps": 0.1}
    return [
        ("margin_ranking_loss", [], how, [(4,), (4,), SIGNS]),
        (
            *("margin_ranking_loss", [], how | {"margin": 1.0}),
            [[1.0, 2.0, 3.0, 0.5], [0.0, 1.0, 5.0, 0.5], SIGNS],
        ),
        ("hinge_embedding_loss", [], how, [PAIRS, SIGNS]),
        ("soft_margin_loss", [], how, [[-40.0, 1.0, 0.0, 9.0], SIGNS]),
        ("cosine_embedding_loss", [], how | {"margin": 0.2}, [(4, 3), (4, 3), SIGNS]),
        ("triplet_margin_loss", [], how, [(4, 3)] * 3),
        ("triplet_margin_loss", [], how | other, [(4, 3)] * 3),
        ("multi_margin_loss", [], how, [SCORES, LABELS]),
        ("multi_margin_loss", [], how | {"p": 2, "margin": 0.5}, [SCORES, LABELS]),
        ("multilabel_soft_margin_loss", [], how, [SCORES, SEVERAL]),
        ("gaussian_nll_loss", [], how, [(2, 3), (2, 3), [[0.5, 1e-8, 0.0], [1.0, 2.0, 3.0]]]),
        ("gaussian_nll_loss", [], how | {"full": True, "eps": 0.1}, [(2, 3), (2, 3), [0.05, 0.7]]),
        ("poisson_nll_loss", [], how, [(4,), [0.0, 1.0, 2.0, 5.0]]),
        ("poisson_nll_loss", [], how | counts, [[0.5, 1.0, 2.0, 0.0], [0.5, 1.0, 2.0, 5.0]]),
    ]


LOSSES = [
    ("normalize", [], {}, [(3, 4)]),
    ("normalize", [], {"p": 3.0, "dim": -1, "eps": 0.5}, [(2, 2, 3)]),
    ("normalize", [], {"p": 1.0, "dim": 0}, [(3, 2)]),
    ("normalize", [], {"eps": 5.0}, [[[3.0, 4.0], [0.0, 0.0], [0.3, 0.4]]]),
    ("normalize", [], {"p": INF}, [(2, 3)]),
    ("cosine_similarity", [], {}, [(3, 4), (3, 4)]),
    ("cosine_similarity", [], {"dim": -1}, [(2, 1, 3), (4, 3)]),
    ("CosineSimilarity", [], {"dim": 0}, [(3, 2), (3, 2)]),
    ("pairwise_distance", [], {}, [(3, 4), (3, 4)]),
    (
        *("pairwise_distance", [], {"p": 1.0, "eps": 0.0}),
        [[[1.0, 2.0], [0.0, 1.0]], [[1.0, 3.0], [0.0, 1.0]]],
    ),
    ("pairwise_distance", [], {"p": 3.0, "keepdim": True}, [(3, 4), (1, 4)]),
    ("PairwiseDistance", [], {"p": INF, "eps": 0.1}, [(3, 4), (4,)]),
    *reduced_losses("mean"),
    *reduced_losses("sum"),
    *reduced_losses("none"),
    ("multi_margin_loss", [], {}, [(3,), {"label": 1}]),
    ("multilabel_soft_margin_loss", [], {}, [(3,), {"target": [0, 1, 1]}]),
    ("CosineEmbeddingLoss", [], {"margin": -0.5}, [(2, 3), (2, 3), {"target": [-1, 1]}]),
    ("CosineEmbeddingLoss", [], {}, [(3,), (3,), {"target": -1}]),
    ("TripletMarginLoss", [], {"margin": 2.0}, [(3,)] * 3),
    ("MarginRankingLoss", [0.5], {}, [(2, 2), (2, 2), {"target": [[1, -1], [-1, 1]]}]),
    ("HingeEmbeddingLoss", [2.0], {}, [PAIRS, SIGNS]),
    ("SoftMarginLoss", [], {"reduction": "sum"}, [(4,), SIGNS]),
    ("GaussianNLLLoss", [], {"full": True}, [(2, 3), (2, 3), [[0.5], [2.0]]]),
    ("PoissonNLLLoss", [], {"full": True}, [(3,), {"target": [0.0, 1.0, 4.0]}]),
    ("binary_cross_entropy_with_logits", [], {}, [(4,), [0.0, 1.0, 0.5, 0.0]]),
    ("cross_entropy", [], {}, [(2, 3), [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]]),
    ("MultiMarginLoss", [2], {"margin": 2.0}, [SCORES, LABELS]),
    ("MultiLabelSoftMarginLoss", [], {}, [SCORES, SEVERAL]),
]

SMALL = {"dim_feedforward": 5, "dropout": 0.0}
CAUSAL = {"mask": [[False, True, True], [False, False, True], [False, False, False]]}
MEMORY = {"mask": [[False, True], [False, False], [True, False]]}
NO_PADDING = {"padding": [[False, False, False], [False, False, False]]}
PADDING_OF_MEMORY = {"padding": [[False, False], [False, True]]}

DECODERS = [
    ("TransformerDecoderLayer", [4, 2], SMALL, [(3, 2, 4), (2, 2, 4)]),
    (
        *("TransformerDecoderLayer", [4, 2], SMALL | {"activation": "gelu", "norm_first": True}),
        [(3, 2, 4), (2, 2, 4), CAUSAL, MEMORY, NO_PADDING, {"padding": [[False, False]] * 2}],
    ),
    (
        *("TransformerDecoderLayer", [4, 2], SMALL | {"batch_first": True, "bias": False}),
        [(2, 3, 4), (2, 2, 4), CAUSAL, MEMORY, NO_PADDING, PADDING_OF_MEMORY],
    ),
    ("Transformer", [4, 2, 2, 1], SMALL, [(2, 2, 4), (3, 2, 4)]),
    ("Transformer", [4, 2, 1, 2], SMALL | {"norm_first": True}, [(2, 4), (3, 4)]),
]

BAGS, WORDS = {"words": [[0, 1, 2], [1, 1, 4]]}, {"words": [0, 1, 2, 1, 4]}
STARTS, ENDS = {"offsets": [0, 2, 2, 4]}, {"offsets": [0, 2, 2, 5]}

EMBEDDINGS = [
    ("Embedding", [5, 3], {"max_norm": 1.0, "padding_idx": 1}, [BAGS]),
    ("Embedding", [5, 3], {"max_norm": 0.5, "norm_type": 1.0}, [WORDS]),
    ("embedding_bag", [], {}, [BAGS, (5, 3)]),
    ("embedding_bag", [], {"mode": "sum"}, [WORDS, (5, 3), STARTS]),
    ("embedding_bag", [], {"mode": "mean", "padding_idx": 1}, [WORDS, (5, 3), STARTS]),
    ("embedding_bag", [], {"mode": "max", "padding_idx": 0}, [BAGS, (5, 3)]),
    ("EmbeddingBag", [5, 3], {"mode": "max"}, [WORDS, STARTS]),
    ("EmbeddingBag", [5, 3], {"mode": "max", "padding_idx": 1}, [BAGS]),
    ("EmbeddingBag", [5, 3], {"max_norm": 1.0}, [BAGS]),
    ("EmbeddingBag", [5, 3], {"mode": "sum", "include_last_offset": True}, [WORDS, ENDS]),
    ("Bilinear", [2, 3, 4], {}, [(5, 2), (5, 3)]),
    ("Bilinear", [2, 3, 1], {"bias": False}, [(2, 1, 2), (2, 1, 3)]),
    ("LocalResponseNorm", [3], {"alpha": 0.5}, [(2, 4, 3)]),
    ("LocalResponseNorm", [4, 1.0, 0.5, 2.0], {}, [(1, 3, 2, 2)]),
]

IMAGES = [
    ("AvgPool2d", [3], {"padding": 1, "divisor_override": 5}, [(1, 2, 4, 5)]),
    ("lp_pool1d", [2.0, 2], {"ceil_mode": True}, [(1, 2, 5)]),
    ("lp_pool1d", [2.0, 2], {}, [[[1.0, -2.0, 0.0, 0.0, 5.0]]]),
    ("LPPool1d", [1, 3], {"stride": 1}, [(2, 5)]),
    ("LPPool2d", [4, [2, 3]], {"stride": 2}, [(1, 2, 4, 5)]),
    *[
        ("interpolate", [], {"mode": mode, "align_corners": corners} | how, [shape])
        for corners in (True, False)
        for mode, how, shape in [
            ("linear", {"size": 7}, (1, 2, 4)),
            ("linear", {"size": 3}, (1, 2, 5)),
            ("linear", {"size": 1}, (1, 1, 4)),
            ("linear", {"scale_factor": 2.4}, (2, 1, 3)),
            ("bilinear", {"scale_factor": 2.0}, (1, 2, 3, 2)),
            ("bilinear", {"size": [2, 5]}, (1, 1, 4, 3)),
            ("bilinear", {"scale_factor": [0.6, 1.7]}, (1, 1, 5, 3)),
            ("trilinear", {"size": [3, 2, 5]}, (1, 1, 2, 3, 2)),
            ("bicubic", {"size": [7, 3]}, (1, 2, 4, 5)),
            ("bicubic", {"scale_factor": 1.6}, (1, 1, 3, 3)),
        ]
    ],
    *[
        ("interpolate", [], {"mode": mode} | how, [shape])
        for mode in ("nearest-exact", "area")
        for how, shape in [
            ({"size": 3}, (1, 2, 5)),
            ({"size": [5, 2]}, (1, 1, 3, 4)),
            ({"scale_factor": 1.5}, (1, 1, 2, 3, 2)),
        ]
    ],
    ("interpolate", [], {"size": [3, 2, 4]}, [(1, 2, 2, 3, 2)]),
    ("Upsample", [], {"scale_factor": 2.0, "mode": "bilinear"}, [(1, 2, 2, 3)]),
    ("Upsample", [[5, 3]], {"mode": "bilinear", "align_corners": True}, [(1, 2, 2, 3)]),
    ("PixelShuffle", [2], {}, [(2, 8, 2, 3)]),
    ("PixelShuffle", [3], {}, [(9, 1, 2)]),
    ("PixelUnshuffle", [2], {}, [(2, 3, 4, 2)]),
    ("ChannelShuffle", [2], {}, [(2, 6, 2, 2)]),
    ("channel_shuffle", [3], {}, [(1, 6, 2)]),
    ("Unfold", [2], {}, [(2, 2, 3, 4)]),
    ("Unfold", [[2, 3]], {"dilation": [2, 1], "padding": 1, "stride": [1, 2]}, [(1, 2, 4, 5)]),
    ("unfold", [2], {"stride": 2}, [(3, 4, 4)]),
    ("Fold", [[3, 4], 2], {}, [(2, 8, 6)]),
    ("Fold", [[4, 5], [2, 3]], {"dilation": [2, 1], "padding": 1, "stride": [1, 2]}, [(1, 6, 12)]),
    ("fold", [4, 2], {"stride": 2}, [(12, 4)]),
]

VOLUMES = [
    ("Conv3d", [2, 3, 2], {"padding": 1}, [(1, 2, 2, 3, 2)]),
    (
        *("Conv3d", [2, 2, [1, 2, 3]], {"stride": [1, 2, 1], "groups": 2, "dilation": [2, 1, 1]}),
        [(2, 2, 3, 4)],
    ),
    ("Conv3d", [1, 1, 2], {"padding": "same", "padding_mode": "circular"}, [(1, 1, 2, 3, 2)]),
    ("ConvTranspose3d", [2, 1, 2], {"stride": 2, "output_padding": 1}, [(1, 2, 1, 2, 2)]),
    ("MaxPool3d", [2], {"stride": 1}, [(1, 1, 2, 3, 3)]),
    ("AvgPool3d", [[1, 2, 2]], {"padding": [0, 1, 1], "divisor_override": 3}, [(1, 2, 2, 3, 2)]),
    ("AdaptiveAvgPool3d", [[2, None, 1]], {}, [(1, 2, 3, 2, 4)]),
    ("AdaptiveMaxPool3d", [2], {}, [(2, 3, 2, 4)]),
    ("InstanceNorm3d", [2, 0.1, 0.2, True], {}, [(2, 2, 1, 2, 2)]),
    ("instance_norm", [], {"eps": 0.1}, [(2, 2, 3)]),
    ("BatchNorm3d", [2], {"affine": False, "track_running_stats": False}, [(2, 2, 1, 2, 2)]),
]

PROJECTED = [
    ("LSTM", [3, 4], {"proj_size": 2}, [(4, 2, 3)]),
    ("LSTM", [3, 4, 2], {"proj_size": 1, "bidirectional": True, "batch_first": True}, [(2, 4, 3)]),
    ("LSTM", [3, 3], {"proj_size": 2, "bias": False}, [(4, 3)]),
]

CASES = [*PADDING, *ACTIVATIONS, *LOSSES, *DECODERS, *EMBEDDINGS, *IMAGES, *VOLUMES, *PROJECTED]


def set_state(module, rng):
    """Give a module a state of round numbers, and return that."""
    state = {
        name: rng.normal(size=tuple(value.shape)).round(3)
        for name, value in module.state_dict().items()
    }
    module.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return {name: value.tolist() for name, value in state.items()}


def run_case(name, arguments, options, inputs):
    """Return what a case is given and what comes out of it, as lists for JSON."""
    title = f"{name}, {arguments}, {options}, {inputs}"
    rng = np.random.default_rng(zlib.crc32(title.encode()))
    given = [rng.normal(size=x).round(3).tolist() if isinstance(x, tuple) else x for x in inputs]
    tensors = [
        torch.tensor(np.array(next(iter(x.values()))))
        if isinstance(x, dict)
        else torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in given
    ]
    leaves = [x for x in tensors if x.requires_grad]
    case = {"name": name, "arguments": arguments, "options": options, "inputs": given}
    named = {key: as_tuple(value) for key, value in options.items()}
    if name[0].isupper():
        module = getattr(torch.nn, name)(*map(as_tuple, arguments), **named).double()
        case |= {"state": set_state(module, rng), "repr": repr(module)}
        leaves += module.parameters()
        outputs = flat(module(*tensors))
    else:
        function = getattr(torch.nn.functional, name)
        outputs = flat(function(*tensors, *map(as_tuple, arguments), **named))
    cotangents = [rng.normal(size=tuple(out.shape)).round(3) for out in outputs]
    torch.autograd.backward(outputs, [torch.tensor(g) for g in cotangents])
    return case | {
        "outputs": [out.tolist() for out in outputs],
        "cotangents": [np.asarray(g).tolist() for g in cotangents],
        "gradients": [x.grad.tolist() for x in leaves],
    }


def main():
    """Write layers.json, a case a line."""
    cases = ",\n".join(json.dumps(run_case(*case)) for case in CASES)
    Path(__file__).with_name("layers.json").write_text(
        f'{{\n"torch": "{torch.__version__}",\n"cases": [\n{cases}\n]\n}}\n'
    )


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    main()
