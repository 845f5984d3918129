"""Attention and encoders: against PyTorch's numbers, derivatives, masks, dropout, misuse."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS, INF
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch import assert_as_pytorch, recorded_modules

from microgrand import Tensor, grad, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

attention = F.scaled_dot_product_attention


@pytest.mark.parametrize("title", recorded_modules("MultiheadAttention", "TransformerEncoderLayer"))
def test_they_give_what_pytorch_gives(title):
    assert_as_pytorch(title)


# -------------------------------------------------------------------------- derivatives


@settings(max_examples=10)
@given(st.data())
def test_derivatives_of_attention(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    batch = data.draw(st.sampled_from([(), (2,), (2, 1)]))
    queries, keys, features = (data.draw(st.integers(1, 3)) for _ in range(3))
    q, k = rng.normal(size=(*batch, queries, features)), rng.normal(size=(*batch, keys, features))
    v = rng.normal(size=(*batch, keys, 2))
    kind = data.draw(st.sampled_from(["none", "booleans", "numbers", "causal"]))
    if kind == "numbers":
        added = rng.normal(size=(queries, keys))
        assert gradcheck(attention, q, k, v, added, order=2, mode="fast")
    else:
        mask = rng.random((queries, keys)) < 0.6 if kind == "booleans" else None
        scale = data.draw(st.sampled_from([None, 2.0]))

        def f(q, k, v):
            return attention(q, k, v, mask, is_causal=kind == "causal", scale=scale)

        assert gradcheck(f, q, k, v, order=2, mode="fast")


@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_derivatives_of_heads(seed, batch_first, average):
    rng = np.random.default_rng(seed)
    layer = nn.MultiheadAttention(4, 2, 0.3, batch_first=batch_first, dtype=float, rng=rng)
    x = rng.normal(size=(2, 3, 4))
    weight = layer.in_proj_weight.data

    def f(x, weight):
        object.__setattr__(layer, "in_proj_weight", weight)
        return layer(x, x, x, average_attn_weights=average)

    assert gradcheck(nn.DropoutMasks().hold(f), x, weight, order=2, mode="fast")


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["gelu", F.silu])
def test_derivatives_of_an_encoder(norm_first, activation):
    rng = np.random.default_rng(0)
    layer = nn.TransformerEncoderLayer(
        4, 2, 3, 0.5, activation, norm_first=norm_first, dtype=float, rng=rng
    )
    encoder = nn.TransformerEncoder(layer, 2)
    x = rng.normal(size=(3, 2, 4))
    assert gradcheck(nn.DropoutMasks().hold(encoder), x, order=2, mode="fast")


@pytest.mark.parametrize("norm_first", [True, False])
def test_derivatives_of_a_decoder(norm_first):
    rng = np.random.default_rng(0)
    layer = nn.TransformerDecoderLayer(
        4, 2, 3, 0.5, "gelu", norm_first=norm_first, dtype=float, rng=rng
    )
    decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(4, dtype=float))
    mask = np.array([[True, False], [False, False], [False, True]])

    def f(x, memory):
        return decoder(x, memory, memory_mask=mask, tgt_is_causal=True)

    x, memory = rng.normal(size=(3, 2, 4)), rng.normal(size=(2, 2, 4))
    assert gradcheck(nn.DropoutMasks().hold(f), x, memory, order=2, mode="fast")


def test_a_decoder_looks_at_the_memory_and_not_ahead():
    rng = np.random.default_rng(0)
    net = nn.Transformer(4, 2, 1, 2, 5, dropout=0.0, batch_first=True, dtype=float, rng=rng)
    src, tgt = (Tensor(rng.normal(size=(2, 3, 4)), requires_grad=True) for _ in range(2))
    out = net(src, tgt, tgt_is_causal=True, src_key_padding_mask=np.array([[0, 0, 1]] * 2, bool),
              memory_key_padding_mask=np.array([[0, 0, 1]] * 2, bool))  # fmt: skip
    np.sum(out[:, :2] * rng.normal(size=(2, 2, 4))).backward()
    for x in src, tgt:
        assert not x.grad[:, 2].any()
        assert x.grad[:, 1].any()
    mask = net.generate_square_subsequent_mask(3)
    same = net(src, tgt, tgt_mask=mask), net(src, tgt, tgt_is_causal=True)
    np.testing.assert_allclose(same[0].data, same[1].data, rtol=1e-12)


def test_weights_of_a_transformer_are_drawn_as_pytorchs():
    net = nn.Transformer(64, 2, 1, 1, 32, rng=np.random.default_rng(0))
    for parameter in net.parameters():
        if parameter.ndim > 1:
            bound = np.sqrt(6 / sum(parameter.shape))
            assert 0.95 * bound < abs(parameter.data).max() <= bound
    own = nn.Linear(2, 2)
    assert nn.Transformer(4, 2, 1, 1, 5, custom_decoder=own).decoder is own


def test_compiled_a_decoder_has_the_same_bits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 2, 4)).astype(np.float32)
    layer = nn.TransformerDecoderLayer(4, 2, 5, 0.0, rng=rng)
    for parameter in layer.parameters():
        parameter.requires_grad = False
    memory = x[0, ::-1]
    assert_runs_as_eager(
        grad(lambda x: np.sum(np.square(layer(x, memory, tgt_is_causal=True)))), lambda i: x[i]
    )


def test_compiled_they_have_the_same_bits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 2, 4)).astype(np.float32)
    layer = nn.TransformerEncoderLayer(4, 2, 5, 0.0, "gelu", rng=rng)
    for parameter in layer.parameters():
        parameter.requires_grad = False

    def loss(x):
        return np.sum(np.square(layer(x, is_causal=True)))

    assert_runs_as_eager(grad(loss), lambda i: x[i])


# --------------------------------------------------------------------------------- masks


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS[:3])
def test_what_is_masked_has_no_part_in_anything(dtype):
    rng = np.random.default_rng(0)
    q, k, v = (Tensor(rng.normal(size=(3, 2)).astype(dtype), requires_grad=True) for _ in "qkv")
    out = attention(q, k, v, is_causal=True)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.data[0], v.data[0])
    np.sum(out[:2]).backward()
    for x in k, v:
        assert not x.grad[2].any()
        assert x.grad[1].any()


@pytest.mark.filterwarnings("error")
def test_a_query_that_may_look_at_nothing_gets_zeros():
    q, k, v = (Tensor(np.ones((2, 2)), requires_grad=True) for _ in "qkv")
    out = attention(q, k, v, [[True, False], [False, False]])
    np.testing.assert_array_equal(out.data, [[1, 1], [0, 0]])
    np.sum(out).backward()
    np.testing.assert_array_equal(v.grad, [[1, 1], [0, 0]])
    assert not q.grad.any()


def test_booleans_and_minus_infinity_say_the_same():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 4, 2))
    allowed = np.tri(4, dtype=bool)
    with np.errstate(all="ignore"):
        added = np.where(allowed, 0, -INF)
    one, other = attention(q, k, v, allowed), attention(q, k, v, added)
    np.testing.assert_allclose(one.data, other.data, rtol=1e-14)
    np.testing.assert_array_equal(one.data, attention(q, k, v, is_causal=True).data)
    layer = nn.MultiheadAttention(2, 1, dtype=float)
    both = [layer(q, k, v, attn_mask=mask)[0].data for mask in (~allowed, added)] + [
        layer(q, k, v, is_causal=True)[0].data
    ]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-14)
    np.testing.assert_array_equal(both[0], both[2])


# ------------------------------------------------------------------------------- dropout


def test_dropout_drops_weights_in_training_only():
    layer = nn.MultiheadAttention(4, 2, 0.5, rng=np.random.default_rng(0))
    x = np.ones((5, 3, 4), np.float32)
    _, weights = layer(x, x, x, average_attn_weights=False)
    assert layer.dropout.mask.shape == (3, 2, 5, 5)
    np.testing.assert_array_equal(weights.data != 0, layer.dropout.mask)
    layer.eval()
    np.testing.assert_allclose(layer(x, x, x)[1].data, 0.2, rtol=1e-6)
    out = attention(np.ones((4, 8)), np.ones((9, 8)), np.ones((9, 1)), dropout_p=0.5)
    assert len(np.unique(out.data)) > 1


def test_layers_of_an_encoder_draw_masks_of_their_own():
    rng = np.random.default_rng(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 5, 0.5, rng=rng), 2)
    encoder(np.ones((6, 3, 4), np.float32))
    first, second = (layer.dropout1.mask for layer in encoder.layers)
    assert (first != second).any()
    a, b = (layer.linear1.weight.data for layer in encoder.layers)
    np.testing.assert_array_equal(a, b)


# -------------------------------------------------------------------------------- modules


def test_names_of_parameters_are_pytorchs():
    layer = nn.TransformerEncoderLayer(4, 2, 5)
    assert list(nn.TransformerEncoder(layer, 1, nn.LayerNorm(4)).state_dict())[:3] == [
        "layers.0.self_attn.in_proj_weight",
        "layers.0.self_attn.in_proj_bias",
        "layers.0.self_attn.out_proj.weight",
    ]
    assert list(nn.MultiheadAttention(4, 2, kdim=3).state_dict())[:3] == [
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
    ]


def test_initial_values_are_pytorchs():
    layer = nn.MultiheadAttention(100, 4, rng=np.random.default_rng(0))
    bound = np.sqrt(6 / 400)
    weight = layer.in_proj_weight.data
    assert abs(weight).max() <= bound
    assert abs(weight.std() - bound / np.sqrt(3)) < 1e-3
    assert not layer.in_proj_bias.data.any()
    assert not layer.out_proj.bias.data.any()


X = np.ones((3, 2, 4))
HEADS = nn.MultiheadAttention(4, 2, dtype=float)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: attention(np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4))), ValueError, "keys"),
        (lambda: attention(np.ones(2), np.ones(2), np.ones(2)), ValueError, "queries"),
        (lambda: attention(X, X, X, np.ones((2, 2), bool), is_causal=True), ValueError, "both"),
        (lambda: attention(X, X, X, np.ones((2, 1, 2), bool)), ValueError, r"\(3, 2, 2\), got"),
        (lambda: attention(X[0], X[0], X[0], np.ones((3, 2, 2))), ValueError, r"\(2, 2\), got"),
        (lambda: attention(X, X, np.ones((3, 2, 4), int)), TypeError, "floating-point"),
        (
            lambda: attention(X, X, X, np.ones((2, 2), int)),
            TypeError,
            r"True where a query may look at a key, .* dtype int64; .* attn_mask\.astype\(bool\)",
        ),
        (lambda: nn.MultiheadAttention(5, 2), ValueError, "multiple of num_heads"),
        (lambda: nn.MultiheadAttention(4, 0), ValueError, "num_heads"),
        (lambda: nn.MultiheadAttention(4, 2, dropout=-1), ValueError, "from 0 to 1"),
        (lambda: HEADS(X, X[:, :1], X), ValueError, r"got shapes \(3, 2, 4\), \(3, 1, 4\)"),
        (lambda: HEADS(X, X, X[:2]), ValueError, "keys, n, 4"),
        (lambda: HEADS(X, X, X, attn_mask=np.ones((2, 3), bool)), ValueError, r"\(3, 3\) or"),
        (lambda: HEADS(X, X, X, attn_mask=np.ones((3, 3), int)), TypeError, r"astype\(bool\)"),
        (lambda: HEADS(X, X, X, np.ones((3, 2), bool)), ValueError, r"shape \(2, 3\)"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), ValueError, "'relu'"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation=1), TypeError, "a function"),
        (lambda: nn.TransformerDecoder(F.relu, 2), TypeError, "decoder_layer is a module"),
        (lambda: nn.TransformerDecoderLayer(4, 3), ValueError, "multiple of num_heads"),
        (lambda: nn.TransformerDecoderLayer(4, 2, 0), ValueError, "TransformerDecoderLayer's dim_"),
        (lambda: nn.Transformer(4, 2, custom_encoder=F.relu), TypeError, "custom_encoder is a mod"),
        (lambda: nn.Transformer.generate_square_subsequent_mask(0), ValueError, "at least 1"),
        (lambda: nn.TransformerEncoder(F.relu, 2), TypeError, "encoder_layer is a module"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
