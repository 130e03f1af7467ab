"""Packing is used where it is exact: leaks and faulty kernels are found, and a model that cannot be read is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from fakes import tiny_model
from haloes.errors import ModelError
from haloes.models import packing_check
from haloes.models.forward import Scorer
from haloes.models.kernels import Kernel, reference_attention
from haloes.models.packing_check import make_scorer


def broken(*_: Any, **__: Any) -> Tensor:
    raise RuntimeError("no such head size")


def one_off(*inputs: Any, **how: Any) -> Tensor:
    return reference_attention(*inputs, **how).roll(1, 0)


@pytest.mark.parametrize(("run", "because"), [(broken, "no such head size"), (one_off, "log-probabilities differ by")])
def test_a_kernel_that_fails_this_model_is_left_and_the_model_still_packs(
    run: Any, because: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packing_check, "choose_kernel", lambda *_, **__: (Kernel("bad", run), None))

    scorer, unpacked_because = make_scorer(tiny_model())

    assert (scorer.packs, scorer.kernel, unpacked_because) == (True, None, None)
    assert scorer.no_kernel_because is not None
    assert scorer.no_kernel_because.startswith("bad: ")
    assert because in scorer.no_kernel_because


def test_a_kernel_that_is_right_is_kept(monkeypatch: pytest.MonkeyPatch):
    kernel = Kernel("plain", reference_attention)
    monkeypatch.setattr(packing_check, "choose_kernel", lambda *_, **__: (kernel, None))

    scorer, _ = make_scorer(tiny_model("gemma3_text"))

    assert scorer.kernel == kernel


class Leaking(torch.nn.Module):
    """Token embeddings into which those of all earlier tokens seep, a little."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.inner(ids)
        return embedded + (0.02 * embedded.float().cumsum(dim=1)).to(embedded.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_weak_leak_is_found_below_the_rounding_of_bfloat16(dtype: torch.dtype):
    model = tiny_model("llama", dtype=dtype, tied=False)
    model.model.embed_tokens = Leaking(model.model.embed_tokens)

    scorer, unpacked_because = make_scorer(model)

    assert not scorer.packs
    assert unpacked_because is not None
    assert "other neighbours" in unpacked_because


class Doubled(LlamaForCausalLM):
    """Its logits are not its head applied to its hidden states."""

    def forward(self, **kwargs: Any) -> Any:
        output = super().forward(**kwargs)
        output.logits = output.logits * 2
        return output


def test_a_model_whose_hidden_states_do_not_give_its_logits_is_refused():
    model = tiny_model("llama")
    model.__class__ = Doubled

    with pytest.raises(ModelError, match=r"Doubled: its logits are not its output layer .* differ by [0-9.]+\)"):
        make_scorer(model)


def test_a_model_in_training_mode_is_compared_without_its_dropout():
    model = tiny_model("gpt2", dropout=0.5).train()

    assert make_scorer(model) == (Scorer(model, packs=True), None)


class Peeking(Leaking):
    """Token embeddings into which those of all later tokens seep."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids.flip(1)).flip(1)


def test_a_model_that_sees_later_tokens_is_refused():
    model = tiny_model("llama", tied=False)
    model.model.embed_tokens = Peeking(model.model.embed_tokens)

    with pytest.raises(ModelError, match=r"LlamaForCausalLM: a token's .* so it is no causal language model"):
        make_scorer(model)


def test_a_long_window_is_crossed_by_making_it_short_for_the_trial(monkeypatch: pytest.MonkeyPatch):
    windows = []
    attention = packing_check.Scorer.token_logps

    def noting(self: Scorer, *inputs: Any) -> Tensor:
        windows.append(self.model.config.sliding_window)
        return attention(self, *inputs)

    monkeypatch.setattr(packing_check.Scorer, "token_logps", noting)
    model = tiny_model("gemma3_text", sliding_window=4096, max_position_embeddings=8192)

    scorer, _ = make_scorer(model)

    assert (scorer.packs, scorer.alone_above) == (True, None)
    assert set(windows) == {16}
    assert model.config.sliding_window == 4096
    assert model.model.layers[0].self_attn.sliding_window == 4096


def test_a_sequence_past_a_threshold_that_is_too_long_to_be_tried_goes_alone():
    model = tiny_model("llama", attention_chunk_size=600, max_position_embeddings=1024)

    scorer, _ = make_scorer(model)

    assert (scorer.packs, scorer.alone_above, scorer.continues_prompts) == (True, 600, False)


def test_a_window_of_a_few_tokens_is_enough():
    model = tiny_model("gpt2", n_positions=24)

    scorer, unpacked_because = make_scorer(model)

    assert (scorer.packs, unpacked_because) == (True, None)


def test_where_padding_changes_the_result_each_sequence_goes_by_itself():
    from tiny_architectures import tiny_architecture

    model = tiny_architecture("deepseek_v3")

    def unlike_alone(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if kwargs["input_ids"].shape[0] > 1 or "haloes_piece_lengths" in kwargs:
            kwargs["input_ids"] = kwargs["input_ids"].flip(1)
        return args, kwargs

    model.model.register_forward_pre_hook(unlike_alone, with_kwargs=True)

    scorer, _ = make_scorer(model)

    assert (scorer.packs, scorer.alone_above) == (False, 0)
    assert scorer.attention == "one sequence a pass"
