"""The policy and its reference: the same weights, before and after they are trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes import VOCAB, byte_tokenizer, tiny_model
from haloes.errors import ConfigError, MissingInputError, ModelError
from haloes.models.adapters import LoRA
from haloes.models.dropout import set_dropout
from haloes.models.fingerprint import weights_fingerprint
from haloes.models.layout import Packed, make_packed
from haloes.models.load import load_model
from haloes.models.packing_check import make_scorer
from haloes.models.policy import Policy, make_policy
from tiny_architectures import tiny_architecture

ways = pytest.mark.parametrize("lora", [LoRA(rank=4), None], ids=["lora", "full"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def batch() -> Packed:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, VOCAB, n, dtype=np.int32) for n in (9, 20, 4)]
    return make_packed([(row[:3], row[3:], row[3:] >= 0) for row in rows], torch.device("cpu"))


def policy_of(model: Any, lora: LoRA | None, *, seed: int = 0) -> Policy:
    return make_policy(model, lora=lora, reference=True, seed=seed)


def scores(model: Any) -> Tensor:
    """What a model that was never trained gives."""
    scorer, _ = make_scorer(model)
    with torch.no_grad():
        return scorer.token_logps(batch())


def disturb(policy: Policy) -> None:
    """Change every trainable weight, as training does."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight.add_(torch.randn(weight.shape, generator=generator).to(weight.dtype), alpha=0.1)


@ways
@dtypes
def test_policy_and_reference_start_as_the_model_that_was_given(lora: LoRA | None, dtype: torch.dtype):
    policy = policy_of(tiny_model("qwen2", dtype=dtype), lora)

    true = scores(tiny_model("qwen2", dtype=dtype))
    assert torch.equal(policy.token_logps(batch()), true)
    assert torch.equal(policy.reference_logps(batch()), true)
    assert policy.unpacked_because is None


@ways
@dtypes
def test_the_reference_stays_what_it_was_when_the_policy_changes(lora: LoRA | None, dtype: torch.dtype):
    policy = policy_of(tiny_model("llama", dtype=dtype), lora)

    disturb(policy)

    true = scores(tiny_model("llama", dtype=dtype))
    assert float((policy.token_logps(batch()) - true).detach().abs().max()) > 0.1
    assert torch.equal(policy.reference_logps(batch()), true)


@ways
def test_the_reference_is_the_model_object_and_not_its_name(lora: LoRA | None, tmp_path: Path):
    tiny_model("llama").save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path), dtype=torch.float32, device="cpu").model
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight *= 1.5
    edited = scores(model)
    assert not torch.equal(edited, scores(tiny_model("llama")))

    policy = policy_of(model, lora)
    disturb(policy)

    assert policy.model.name_or_path == str(tmp_path)
    assert torch.equal(policy.reference_logps(batch()), edited)


@ways
def test_the_reference_has_no_dropout_and_no_gradient(lora: LoRA | None):
    policy = policy_of(tiny_model("gpt2"), lora)
    set_dropout(policy.model, 0.5)
    policy.model.train()

    found = policy.reference_logps(batch())

    assert torch.equal(found, scores(tiny_model("gpt2")))
    assert not found.requires_grad
    assert policy.model.training


def test_scoring_switches_dropout_and_gradients_off_and_on_again():
    policy = policy_of(tiny_model("gpt2"), None)
    set_dropout(policy.model, 0.5)
    policy.model.train()
    with policy.scoring():
        inside = policy.token_logps(batch())

    assert torch.equal(inside, scores(tiny_model("gpt2")))
    assert not inside.requires_grad
    assert policy.token_logps(batch()).requires_grad
    assert not torch.equal(policy.token_logps(batch()), policy.token_logps(batch()))


def test_scoring_leaves_a_model_in_eval_mode_there():
    policy = policy_of(tiny_model(), None)
    policy.model.eval()
    with pytest.raises(KeyError), policy.scoring():
        raise KeyError

    assert not policy.model.training
    assert torch.is_grad_enabled()


@ways
def test_token_kl_is_zero_before_training_and_that_of_the_full_distributions_after(lora: LoRA | None):
    policy = policy_of(tiny_model("llama"), lora)
    assert not policy.token_kl(batch()).any()

    disturb(policy)

    def log_distribution(model: Any) -> Tensor:
        rows = torch.split(batch().ids_T, batch().piece_lengths)
        with torch.no_grad():
            logits = torch.cat([model(row[None]).logits[0] for row in rows])
        return torch.log_softmax(logits[batch().predictor_N].double(), dim=-1)

    p, q = log_distribution(policy.model), log_distribution(tiny_model("llama"))
    true = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    assert float(true.min()) > 0
    torch.testing.assert_close(policy.token_kl(batch()).double(), true, rtol=1e-4, atol=1e-5)


def full_log_distribution(policy: Policy) -> Tensor:
    """log p of the whole vocabulary at each trained token, from the model's own logits, in float64."""
    rows = torch.split(batch().ids_T, batch().piece_lengths)
    with torch.no_grad():
        logits = torch.cat([policy.model(row[None]).logits[0] for row in rows])
    return torch.log_softmax(logits[batch().predictor_N].double(), dim=-1)


@ways
@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_what_is_asked_for_at_every_token_comes_with_its_gradient(lora: LoRA | None, kind: str):
    policy = make_policy(tiny_model(kind), lora=lora, reference=True, seed=0, values=True)
    q = full_log_distribution(policy)
    disturb(policy)
    p = full_log_distribution(policy)

    found = policy.token_scores(batch(), collision=True, kl=True)

    assert found.collision is not None
    assert found.reference_kl is not None
    assert found.value is not None
    true = p.gather(1, batch().target_N[:, None]).squeeze(1)
    torch.testing.assert_close(found.logp.double(), true, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.collision.double(), (2 * p).logsumexp(-1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.reference_kl.double(), (q.exp() * (q - p)).sum(-1), rtol=1e-3, atol=1e-4)
    assert float(found.value.detach().abs().min()) > 0
    assert not found.collision.requires_grad
    of_model = [p for name, p in policy.trainable().items() if not name.startswith("value_head.")]
    for values in (found.logp, found.reference_kl):
        slopes = torch.autograd.grad(values.sum(), of_model, retain_graph=True)
        assert all(bool(slope.any()) for slope in slopes)


@ways
def test_the_slope_of_the_divergence_is_that_of_differences(lora: LoRA | None):
    policy = make_policy(tiny_model("gemma2"), lora=lora, reference=True, seed=0)
    disturb(policy)
    weight = next(w for name, w in reversed(policy.trainable().items()) if "down_proj" in name)

    def total() -> Tensor:
        found = policy.token_scores(batch(), kl=True).reference_kl
        assert found is not None
        return found.double().sum()

    [slope] = torch.autograd.grad(total(), [weight])
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    ends = []
    with torch.no_grad():
        for by in (2e-3, -4e-3):
            weight += by * direction
            ends.append(float(total()))

    assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 4e-3, rel=0.02)


def test_what_is_not_asked_for_is_not_computed(monkeypatch: pytest.MonkeyPatch):
    policy = policy_of(tiny_model(), None)
    monkeypatch.setattr("haloes.models.policy.log_collision", lambda *_: pytest.fail("not asked for"))
    monkeypatch.setattr("haloes.models.policy.reference_kl", lambda *_: pytest.fail("not asked for"))

    found = policy.token_scores(batch())

    assert (found.collision, found.reference_kl, found.value) == (None, None, None)
    assert torch.equal(found.logp, policy.token_logps(batch()))


def test_the_value_head_trains_itself_alone():
    policy = make_policy(tiny_model(), lora=LoRA(rank=4), reference=False, seed=0, values=True)
    disturb(policy)

    found = policy.token_scores(batch()).value
    assert found is not None
    found.sum().backward()

    moved = {name for name, weight in policy.trainable().items() if weight.grad is not None}
    assert moved == {f"value_head.layers.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")}


def test_the_divergence_from_no_reference_is_refused():
    policy = make_policy(tiny_model(), lora=None, reference=False, seed=0)

    with pytest.raises(MissingInputError, match="without a reference"):
        policy.token_scores(batch(), kl=True)


def test_without_gradients_scores_have_none():
    policy = make_policy(tiny_model(), lora=None, reference=True, seed=0, values=True)

    with torch.no_grad():
        found = policy.token_scores(batch(), collision=True, kl=True)

    parts = (found.logp, found.collision, found.reference_kl, found.value)
    assert not any(part is None or part.requires_grad for part in parts)


def test_without_a_reference_there_is_no_copy_and_asking_for_it_is_refused():
    policy = make_policy(tiny_model(), lora=None, reference=False, seed=0)

    assert policy.reference is None
    with pytest.raises(MissingInputError, match="without a reference"):
        policy.reference_logps(batch())
    with pytest.raises(MissingInputError, match="without a reference"):
        policy.token_kl(batch())


def test_full_tuning_trains_every_weight():
    model = tiny_model()
    model.requires_grad_(False)

    policy = policy_of(model, None)

    assert list(policy.trainable()) == [name for name, _ in tiny_model().named_parameters()]


def test_lora_trains_adapters_of_the_linear_layers_and_nothing_else():
    names = list(policy_of(tiny_model(tied=False), LoRA(rank=4)).trainable())

    adapted = {name.split("base_model.model.model.layers.")[1].split(".lora_")[0] for name in names}
    layers = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    layers += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    assert adapted == {f"{i}.{layer}" for i in (0, 1) for layer in layers}
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert len(names) == 2 * len(adapted)


@pytest.mark.parametrize("targets", [["q_proj"], r".*\.q_proj"], ids=["names", "regular expression"])
def test_lora_can_be_kept_to_some_blocks_and_layers(targets: str | list[str]):
    lora = LoRA(rank=2, alpha=6, targets=targets, layers=[1])

    trainable = policy_of(tiny_model(), lora).trainable()

    (a, b) = trainable
    assert ".layers.1.self_attn.q_proj.lora_A." in a
    assert ".layers.1.self_attn.q_proj.lora_B." in b
    assert [tuple(weight.shape) for weight in trainable.values()] == [(2, 32), (32, 2)]


@pytest.mark.parametrize(("kind", "linear"), [("llama", 7), ("gpt2", 4)])
def test_all_linear_layers_of_some_blocks_get_adapters(kind: str, linear: int):
    names = policy_of(tiny_model(kind, tied=False), LoRA(rank=2, layers=[1])).trainable()
    upper = policy_of(tiny_model(kind, tied=False), LoRA(rank=2, layers="upper third")).trainable()
    assert upper.keys() == names.keys()  # a third of two blocks, rounded up

    assert len(names) == 2 * linear
    assert all(".1." in name for name in names)


def test_an_adapter_adds_alpha_over_rank_times_b_a():
    policy = policy_of(tiny_model("llama"), LoRA(rank=2, alpha=6, targets=["q_proj"], layers=[1]))
    disturb(policy)
    (a, b) = policy.trainable().values()
    merged = tiny_model("llama")
    with torch.no_grad():
        merged.model.layers[1].self_attn.q_proj.weight += 6 / 2 * (b @ a)

    torch.testing.assert_close(policy.token_logps(batch()), scores(merged), rtol=0, atol=1e-4)


@dtypes
def test_the_seed_alone_decides_the_adapters_start(dtype: torch.dtype):
    def start(seed: int) -> list[Tensor]:
        torch.manual_seed(99 + seed)
        return list(policy_of(tiny_model(dtype=dtype), LoRA(rank=4), seed=seed).trainable().values())

    first, again, other = start(0), start(0), start(1)

    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert {weight.dtype for weight in first} == {dtype}


def test_making_a_policy_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)

    policy_of(tiny_model(), LoRA())

    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("lora", "says"),
    [
        (LoRA(targets=["no_such_layer"]), r"no adapter could be added for targets \['no_such_layer'\]"),
        (LoRA(layers=[7]), r"no adapter could be added for targets 'all-linear' in layers \[7\]"),
        (LoRA(targets=["lm_head", "q_proj"]), "takes in the output layer"),
    ],
)
def test_adapters_that_cannot_be_are_refused(lora: LoRA, says: str):
    with pytest.raises(ConfigError, match=says):
        policy_of(tiny_model(tied=False), lora)


def test_an_adapter_without_rank_is_refused():
    with pytest.raises(ConfigError, match=r"model\.lora\.rank must be at least 1, got 0"):
        LoRA(rank=0)


def test_gpt2_gets_adapters_without_a_warning(capfd: pytest.CaptureFixture[str]):
    policy = policy_of(tiny_model("gpt2"), LoRA(rank=4))
    disturb(policy)

    assert torch.equal(policy.reference_logps(batch()), scores(tiny_model("gpt2")))
    assert capfd.readouterr() == ("", "")


def test_the_fingerprint_is_that_of_the_weights_before_training():
    fingerprint = weights_fingerprint(tiny_model())
    policies = [policy_of(tiny_model(), lora) for lora in (LoRA(rank=4), LoRA(rank=8), None)]

    assert {policy.reference_fingerprint for policy in policies} == {fingerprint}


@ways
def test_another_model_can_be_the_reference_and_stays_what_it_is(lora: LoRA | None):
    model, other = tiny_model("llama", seed=1), tiny_model("llama", seed=2)
    policy = make_policy(model, lora=lora, reference=True, seed=0, reference_model=other)
    start, theirs = scores(tiny_model("llama", seed=1)), scores(tiny_model("llama", seed=2))

    assert torch.equal(policy.token_logps(batch()), start)
    disturb(policy)

    assert float((policy.token_logps(batch()) - start).detach().abs().max()) > 0.1
    assert torch.equal(policy.reference_logps(batch()), theirs)
    assert policy.reference_fingerprint == weights_fingerprint(tiny_model("llama", seed=2))
    assert policy.start_fingerprint == weights_fingerprint(tiny_model("llama", seed=1))
    assert not any(parameter.requires_grad for parameter in other.parameters())


def test_the_divergence_is_to_the_model_that_was_given_as_the_reference():
    policy = make_policy(tiny_model(seed=1), lora=None, reference=True, seed=0, reference_model=tiny_model(seed=1))
    apart = make_policy(tiny_model(seed=1), lora=None, reference=True, seed=0, reference_model=tiny_model(seed=2))

    assert float(policy.token_kl(batch()).abs().max()) < 1e-5
    assert float(apart.token_kl(batch()).min()) > 0.01


def test_a_reference_of_its_own_cannot_be_synced():
    with pytest.raises(ConfigError, match="the loss moves its reference"):
        make_policy(tiny_model(), lora=None, reference=True, seed=0, synced=True, reference_model=tiny_model())


def test_adapters_leave_a_tower_for_images_alone():
    model = tiny_architecture("gemma3")

    names = list(policy_of(model, LoRA(rank=2)).trainable())

    assert names
    assert all(".language_model." in name for name in names)
    assert any("vision_tower" in name for name, _ in model.named_modules())


def test_full_tuning_leaves_a_tower_for_images_alone():
    trained = policy_of(tiny_architecture("gemma3"), None).trainable()

    assert not [name for name in trained if "vision_tower" in name or "projector" in name]
    assert "model.language_model.layers.0.self_attn.q_proj.weight" in trained


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["mamba", "mamba2", "falcon_h1"])
def test_mamba_gets_adapters_where_its_kernels_call_the_layer(kind: str):
    names = list(policy_of(tiny_architecture(kind), LoRA(rank=2)).trainable())

    assert any(".in_proj." in name for name in names)
    assert not [name for name in names if "out_proj" in name or "x_proj" in name or "dt_proj" in name]


def test_a_layer_that_computes_in_its_own_way_gets_no_adapter():
    class Grouped(torch.nn.Linear):
        def forward(self, hidden: Tensor) -> Tensor:
            return super().forward(hidden.roll(1, -1))

    model = tiny_model()
    layer = model.model.layers[0].self_attn.o_proj
    layer.__class__ = Grouped

    names = list(policy_of(model, LoRA(rank=2)).trainable())

    assert not [name for name in names if "layers.0.self_attn.o_proj" in name]
    assert [name for name in names if "layers.1.self_attn.o_proj" in name]


def test_a_model_without_a_gradient_is_refused_as_it_is_made():
    model = tiny_model()
    model.model.layers[1].register_forward_hook(lambda _, __, output: output.detach())

    with pytest.raises(ModelError, match="LlamaForCausalLM cannot be trained: it has no gradient"):
        policy_of(model, LoRA(rank=2))
