"""Packed scoring, against the plain padded forward of transformers: values, gradients, and that nothing leaks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fakes import KINDS, VOCAB, tiny_model
from haloes.errors import ModelError
from haloes.models import lm_head as head_module
from haloes.models.forward import head_of
from haloes.models.kernels import Kernel, reference_attention
from haloes.models.layout import Packed, make_packed
from haloes.models.packing_check import make_scorer
from haloes.models.quiet import quiet

CPU = torch.device("cpu")
LENGTHS = [(3, 5), (1, 1), (6, 24), (2, 9)]
"""Prompt and completion; the third is longer than the sliding window of the tiny Gemmas (16)."""

kinds = pytest.mark.parametrize("kind", KINDS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])

Sequences = list[tuple[Any, Any, Any]]


def sequences(*, seed: int = 0, lengths: list[tuple[int, int]] = LENGTHS) -> Sequences:
    rng = np.random.default_rng(seed)
    found = []
    for prompt, completion in lengths:
        ids = rng.integers(0, VOCAB, prompt + completion, dtype=np.int32)
        trained = rng.random(completion) < 0.8
        trained[-1] = True
        found.append((ids[:prompt], ids[prompt:], trained))
    return found


def packed(rows: Sequences) -> Packed:
    return make_packed(rows, CPU)


def padded_logps(model: Any, rows: Sequences) -> Tensor:
    """Of all trained tokens, from the logits of one padded batch, as any trainer with transformers computes them."""
    whole = [torch.tensor(np.concatenate([prompt, completion])).long() for prompt, completion, _ in rows]
    ids = torch.nn.utils.rnn.pad_sequence(whole, batch_first=True, padding_value=1)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(w)) for w in whole], batch_first=True)
    if model.config.model_type == "gemma2" and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")  # "sdpa" leaves the soft cap out in transformers 5.17
    logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    logps = torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)
    found = [
        logps[i, len(prompt) - 1 : len(prompt) + len(completion) - 1][torch.tensor(trained)]
        for i, (prompt, completion, trained) in enumerate(rows)
    ]
    return torch.cat(found)


def gradients(model: Any, logps: Tensor) -> dict[str, Tensor]:
    weights = torch.randn(len(logps), generator=torch.Generator().manual_seed(5))
    model.zero_grad()
    (logps * weights).sum().backward()
    return {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}


@kinds
@dtypes
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_values_and_gradients_are_those_of_a_padded_forward(
    kind: str, dtype: torch.dtype, tied: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(head_module, "CHUNK_BYTES", 7 * 4 * VOCAB)
    rows = sequences()
    plain = tiny_model(kind, dtype=dtype, tied=tied)
    model = tiny_model(kind, dtype=dtype, tied=tied)
    scorer, unpacked_because = make_scorer(model)

    found, true = scorer.token_logps(packed(rows)), padded_logps(plain, rows)

    assert (scorer.packs, unpacked_because) == (True, None)
    exact = dtype == torch.float32
    torch.testing.assert_close(found, true, rtol=0, atol=2e-5 if exact else 0.15)
    mine, theirs = gradients(model, found), gradients(plain, true)
    assert mine.keys() == theirs.keys() == dict(plain.named_parameters()).keys()
    for name in theirs:
        error = float((mine[name] - theirs[name]).norm() / theirs[name].norm())
        assert error < (1e-4 if exact else 0.1), name


def sharing(*, seed: int = 0) -> Sequences:
    """Sequences of which some begin alike, at two depths; the longest is longer than the sliding window."""
    rng = np.random.default_rng(seed)
    system, question = (rng.integers(0, VOCAB, n, dtype=np.int32) for n in (10, 9))
    found = []
    for parts in ([system, question], [system], [], [system, question], [system]):
        own, completion = (rng.integers(0, VOCAB, n, dtype=np.int32) for n in (3, 6))
        found.append((np.concatenate([*parts, own]), completion, completion >= 0))
    return found


@kinds
@dtypes
def test_sharing_beginnings_changes_neither_values_nor_gradients(kind: str, dtype: torch.dtype):
    rows = sharing()
    plain, model = tiny_model(kind, dtype=dtype), tiny_model(kind, dtype=dtype)
    scorer, _ = make_scorer(model)
    layout = packed(rows)
    assert layout.num_tokens < sum(len(prompt) + len(completion) - 1 for prompt, completion, _ in rows) - 30

    found, true = scorer.token_logps(layout), padded_logps(plain, rows)

    exact = dtype == torch.float32
    torch.testing.assert_close(found, true, rtol=0, atol=2e-5 if exact else 0.15)
    mine, theirs = gradients(model, found), gradients(plain, true)
    for name in theirs:
        error = float((mine[name] - theirs[name]).norm() / theirs[name].norm())
        assert error < (1e-4 if exact else 0.1), name


@kinds
def test_a_kernel_for_all_pieces_at_once_changes_neither_values_nor_gradients(kind: str):
    rows = sharing()
    model = tiny_model(kind)
    scorer, _ = make_scorer(model)
    at_once = replace(scorer, kernel=Kernel("plain", reference_attention))
    assert scorer.attention == "one call a sequence (sdpa)"
    assert at_once.attention == "all sequences at once (plain)"

    found, true = at_once.token_logps(packed(rows)), scorer.token_logps(packed(rows))

    torch.testing.assert_close(found, true, rtol=0, atol=2e-5)
    mine, theirs = gradients(model, found), gradients(model, true)
    for name in theirs:
        assert float((mine[name] - theirs[name]).norm()) <= 1e-4 * float(theirs[name].norm()), name


def test_a_kernel_works_under_gradient_checkpointing():
    model = tiny_model("qwen3")
    scorer, _ = make_scorer(model)
    at_once, rows = replace(scorer, kernel=Kernel("plain", reference_attention)), sharing()
    kept = gradients(model, at_once.token_logps(packed(rows)))

    with quiet():
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    again = gradients(model, at_once.token_logps(packed(rows)))

    for name in kept:
        torch.testing.assert_close(again[name], kept[name], rtol=1e-5, atol=1e-6)


@kinds
@dtypes
def test_another_document_in_the_pack_changes_not_a_bit(kind: str, dtype: torch.dtype):
    scorer, _ = make_scorer(tiny_model(kind, dtype=dtype))
    rows, others = sequences(), sequences(seed=1)
    layout = packed(rows)
    with torch.no_grad():
        before = torch.split(scorer.token_logps(layout), layout.trained)
        for changed in range(len(rows)):
            ids = others[changed][0], others[changed][1], rows[changed][2]
            layout = packed([ids if i == changed else row for i, row in enumerate(rows)])
            after = torch.split(scorer.token_logps(layout), layout.trained)

            same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]

            assert same == [i != changed for i in range(len(rows))]


def test_a_document_scores_the_same_alone_and_in_any_order():
    scorer, _ = make_scorer(tiny_model("gemma2"))
    rows = sequences()
    with torch.no_grad():
        alone = [scorer.token_logps(packed([row])) for row in rows]
        turned = scorer.token_logps(packed(rows[::-1]))

    torch.testing.assert_close(turned, torch.cat(alone[::-1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("window", [4, 600])
def test_sliding_windows_of_every_size_are_kept(window: int):
    rows = sequences(lengths=[(5, 40)])
    fields = {"sliding_window": window, "layer_types": ["sliding_attention"] * 2}
    scorer, _ = make_scorer(tiny_model("gemma3_text", **fields))

    with torch.no_grad():
        found, true = scorer.token_logps(packed(rows)), padded_logps(tiny_model("gemma3_text", **fields), rows)

    assert scorer.packs
    torch.testing.assert_close(found, true, rtol=0, atol=2e-5)


def test_an_empty_prompt_and_a_document_of_no_tokens_are_fine():
    nothing = np.empty(0, np.int32)
    one, two = np.array([7], np.int32), np.array([8, 9], np.int32)
    rows = [(nothing, one, one > 0), (nothing, two, two > 0), *sequences()]
    scorer, _ = make_scorer(tiny_model())

    found = scorer.token_logps(packed(rows))

    torch.testing.assert_close(found[1:], scorer.token_logps(packed(sequences())), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[:1], padded_logps(tiny_model(), [(two[:1], two[1:], two[1:] > 0)]))


@kinds
def test_a_model_set_up_for_packing_still_generates(kind: str):
    # Two prompts of different length, so that the shorter is padded on the left.
    ids = torch.tensor([[1, 1, 9, 30, 5], [20, 8, 77, 31, 6]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])

    def sample(model: Any) -> list[list[int]]:
        found: Tensor = model.generate(ids, attention_mask=mask, max_new_tokens=20, do_sample=False, pad_token_id=1)
        return found.tolist()

    model = tiny_model(kind)
    before = sample(model)
    scorer, _ = make_scorer(model)
    scorer.token_logps(packed(sequences()))

    assert sample(model) == before


@kinds
def test_plain_calls_of_a_model_set_up_for_packing_are_as_before(kind: str):
    model = tiny_model(kind)
    rows = sequences()
    with torch.no_grad():
        before = padded_logps(model, rows)
        make_scorer(model)

        torch.testing.assert_close(padded_logps(model, rows), before, rtol=0, atol=2e-5)


def recurrent(kind: str, dtype: torch.dtype) -> Any:
    """A tiny random model with layers that carry a state from token to token, whatever document they belong to."""
    fields: dict[str, dict[str, Any]] = {
        "rwkv": {"attention_hidden_size": 32, "context_length": 512},
        "lfm2": {
            "layer_types": ["conv", "full_attention"],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 48,
        },
        "mamba": {"state_size": 8, "intermediate_size": 64},
    }
    common = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.2}
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**common, **marks, **fields[kind]), dtype=dtype).eval()


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("rwkv", torch.float32),
        ("rwkv", torch.bfloat16),
        ("lfm2", torch.float32),
        ("lfm2", torch.bfloat16),
        ("mamba", torch.float32),
    ],
    ids=str,
)
def test_an_architecture_that_mixes_packed_sequences_is_padded_and_says_why(kind: str, dtype: torch.dtype):
    model = recurrent(kind, dtype)
    attention = model.config._attn_implementation
    rows = [*sequences(), *sharing()]

    scorer, unpacked_because = make_scorer(model)

    assert not scorer.packs
    assert unpacked_because
    assert model.config._attn_implementation == attention
    found = scorer.token_logps(packed(rows))
    true = padded_logps(model, rows)
    torch.testing.assert_close(found, true, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.05)
    mine, theirs = gradients(model, found), gradients(model, padded_logps(model, rows))
    for name in theirs:
        assert float((mine[name] - theirs[name]).norm()) <= 0.05 * float(theirs[name].norm()), name


def test_a_model_without_a_linear_output_layer_is_refused():
    model = tiny_model("llama", tied=False)
    model.lm_head = torch.nn.Sequential(model.lm_head)

    with pytest.raises(ModelError, match="LlamaForCausalLM has no linear output layer \\(found Sequential\\)"):
        make_scorer(model)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("granite", "logits_scaling", 4.0), ("cohere", "logit_scale", 0.25), ("gemma2", "final_logit_softcapping", 5.0)],
)
def test_what_the_config_says_of_the_logits_is_heeded(kind: str, field: str, value: float):
    fields = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": VOCAB, "head_dim": 8}
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**fields, **marks, num_key_value_heads=2, initializer_range=0.5, **{field: value})
    model = AutoModelForCausalLM.from_config(config).eval()

    scorer, _ = make_scorer(model)

    head = head_of(model)
    assert head.softcap == 5.0 or head.scale == 0.25
    with torch.no_grad():
        true = padded_logps(model, sequences())
        torch.testing.assert_close(scorer.token_logps(packed(sequences())), true, rtol=0, atol=2e-5)
