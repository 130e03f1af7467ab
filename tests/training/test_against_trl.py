"""
One step of haloes equals TRL's on the same rows and the same mismatched pairs.

An independent implementation is the oracle here: its trainers tokenise and pair the texts themselves, and its token ids
are what haloes is given. `benchmarks/requirements-peer.txt` names the version.
"""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from fakes import IM_END, byte_tokenizer, tiny_model
from haloes.batches.schedule import Step
from haloes.losses._contract import Loss
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.models.policy import Policy, make_policy
from haloes.tokens.encode import Encoded
from haloes.tokens.store import TokenStore, TokenStoreWriter
from haloes.training.completion_logps import ReferenceTotals
from haloes.training.distributed import Ranks
from haloes.training.step import Stepper, Table

trl = pytest.importorskip("trl", reason="trl is not installed (make test-peers runs it)")

pytestmark = [
    pytest.mark.peer,
    # What TRL and the libraries under it warn of is not this project's to mend.
    pytest.mark.filterwarnings("ignore"),
]

ROWS = [
    {"prompt": "Why is the sky blue?", "completion": "Air scatters blue light most.", "label": True},
    {"prompt": "Two and two?", "completion": "Five, as everybody has known for a long time.", "label": False},
    {"prompt": "Name a river.", "completion": "The Elbe.", "label": True},
    {"prompt": "Say it in one word: are whales fish?", "completion": "No", "label": True},
    {"prompt": "Capital of Peru?", "completion": "It may be Quito or Lima, who knows.", "label": False},
]
PAIRS = [
    {"prompt": "Why is the sky blue?", "chosen": "Air scatters blue light most.", "rejected": "It is painted."},
    {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five, as everybody has known for a long time."},
    {"prompt": "Name a river.", "chosen": "The Elbe, which flows to the sea.", "rejected": "Lake Como"},
]


@pytest.fixture(autouse=True)
def _quiet_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL reports its use over the network, except in CI."""
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("TQDM_DISABLE", "1")


def moved(model: Any, *, seed: int) -> Any:
    """A copy of the model some way into its training, so that log-ratios are not zero."""
    generator = torch.Generator().manual_seed(seed)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return copied


def peer_settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trl"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def kto_trainer(tmp_path: Path, policy: Any, reference: Any, loss: KTO) -> Any:
    encode = byte_tokenizer()
    # haloes cuts a mismatched completion where the longest row of the data ends; TRL does so where it is told to.
    longest = max(len(encode(f"{row['prompt']}{row['completion']}{IM_END}")["input_ids"]) for row in ROWS)
    settings = trl.KTOConfig(
        **peer_settings(tmp_path) | {"max_length": longest},
        per_device_train_batch_size=len(ROWS),
        beta=loss.beta,
        desirable_weight=loss.desirable_weight,
        undesirable_weight=loss.undesirable_weight,
    )
    return trl.KTOTrainer(
        model=policy,
        ref_model=reference,
        args=settings,
        train_dataset=Dataset.from_list(ROWS),
        processing_class=byte_tokenizer(),
    )


def dpo_trainer(tmp_path: Path, policy: Any, reference: Any, loss: DPO) -> Any:
    settings = trl.DPOConfig(
        **peer_settings(tmp_path), per_device_train_batch_size=len(PAIRS), beta=loss.beta, loss_type="sigmoid"
    )
    return trl.DPOTrainer(
        model=policy,
        ref_model=reference,
        args=settings,
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=byte_tokenizer(),
    )


def peer_step(trainer: Any) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """TRL's loss on its whole data set as one micro-batch, the gradients it leaves, and the micro-batch."""
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradients = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    return float(loss.detach()), gradients, batch


def encoded(prompt: list[int], completion: list[int]) -> Encoded:
    return Encoded(
        prompt=np.array(prompt, np.int32),
        completion=np.array(completion, np.int32),
        trained=np.ones(len(completion), np.bool_),
        prompt_cut=False,
        completion_cut=False,
        agrees=True,
    )


def store_of(path: Path, sequences: list[tuple[list[int], list[int], bool, int]], *, paired: bool) -> TokenStore:
    """A store of these sequences: prompt and completion ids, label, number of the prompt."""
    with TokenStoreWriter(path, paired=paired) as writer:
        for line, (prompt, completion, desirable, group) in enumerate(sequences, start=1):
            row = encoded(prompt, completion)
            writer.append(row, desirable=desirable, group=group, weight=1.0, source="peer", line=line)
    return TokenStore(path)


def policy_of(policy_model: Any, reference_model: Any) -> Policy:
    """A policy whose reference is another model than itself: what it is after some steps."""
    policy = make_policy(copy.deepcopy(reference_model), lora=None, reference=True, seed=0)
    policy.model.load_state_dict(policy_model.state_dict())
    return policy


def our_step(policy: Policy, loss: Loss[Any], store: TokenStore, mismatched: list[int], *, budget: int) -> Table:
    reference = ReferenceTotals(policy.reference_logps, None, budget, torch.device("cpu"))
    stepper = Stepper(policy=policy, loss=loss, store=store, ranks=Ranks(0, 1), reference=reference, max_tokens=budget)
    step = Step(0, 0, np.arange(store.num_examples), np.array(mismatched, np.int64))
    return stepper.run(step, backward=True)


def our_kto_step(tmp_path: Path, trainer: Any, policy: Policy, loss: KTO, *, budget: int) -> Table:
    """The step on TRL's own token ids, each prompt with the mismatched completion that TRL gave it."""
    rows = list(trainer.train_dataset)
    store = store_of(
        tmp_path / "store",
        [(row["prompt_ids"], row["completion_ids"], row["label"], i) for i, row in enumerate(rows)],
        paired=False,
    )
    completions = [row["completion_ids"] for row in rows]
    mismatched = [completions.index(row["KL_completion_ids"]) for row in rows]
    assert mismatched == [4, 0, 1, 2, 3]
    return our_step(policy, loss, store, mismatched, budget=budget)


def assert_same_gradients(policy: Policy, expected: dict[str, torch.Tensor]) -> None:
    assert policy.trainable().keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, parameter in policy.trainable().items():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5 * largest, msg=name)


@pytest.mark.parametrize("budget", [4096, 100])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_kto_step_has_the_loss_and_the_gradients_of_trl(tmp_path: Path, seed: int, budget: int):
    reference = tiny_model("llama")
    start = moved(reference, seed=seed)
    loss = KTO(beta=0.1, desirable_weight=1.5, undesirable_weight=0.7)
    trainer = kto_trainer(tmp_path, copy.deepcopy(start), copy.deepcopy(reference), loss)
    expected, gradients, _ = peer_step(trainer)
    policy = policy_of(start, reference)
    table = our_kto_step(tmp_path, trainer, policy, loss, budget=budget)
    assert float(table.weight @ table.loss) == pytest.approx(expected, abs=1e-5)
    assert_same_gradients(policy, gradients)


def test_the_two_kto_steps_see_a_reference_point_above_the_clamp_and_one_below(tmp_path: Path):
    reference = tiny_model("llama")
    found = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        trainer = kto_trainer(folder, moved(reference, seed=seed), copy.deepcopy(reference), KTO())
        peer_step(trainer)
        policy = policy_of(moved(reference, seed=seed), reference)
        table = our_kto_step(folder, trainer, policy, KTO(), budget=4096)
        assert table.mismatched is not None
        assert trainer._metrics["train"]["kl"] == [pytest.approx(max(0.0, table.mismatched.mean()), abs=1e-3)]
        found.append(table.mismatched.mean())
    assert min(found) < 0 < max(found)


def test_a_dpo_step_has_the_loss_and_the_gradients_of_trl(tmp_path: Path):
    reference = tiny_model("llama")
    start = moved(reference, seed=1)
    trainer = dpo_trainer(tmp_path, copy.deepcopy(start), copy.deepcopy(reference), DPO(beta=0.1))
    expected, gradients, _ = peer_step(trainer)
    rows = list(trainer.train_dataset)
    sequences = [
        (row["prompt_ids"], row[f"{side}_ids"], side == "chosen", i)
        for i, row in enumerate(rows)
        for side in ("chosen", "rejected")
    ]
    policy = policy_of(start, reference)
    store = store_of(tmp_path / "store", sequences, paired=True)
    table = our_step(policy, DPO(beta=0.1), store, [], budget=4096)
    assert abs(expected - math.log(2)) > 1e-2  # nothing would be compared where all log-ratios are zero
    assert float(table.weight @ table.loss) == pytest.approx(expected, abs=1e-5)
    assert_same_gradients(policy, gradients)


def test_log_probabilities_are_those_of_trls_fused_head_and_of_its_plain_one(tmp_path: Path):
    from trl.trainer.utils import selective_log_softmax

    reference = tiny_model("llama")
    start = moved(reference, seed=1)
    trainer = kto_trainer(tmp_path, copy.deepcopy(start), copy.deepcopy(reference), KTO())
    batch = trainer.data_collator(list(trainer.train_dataset))
    table = our_kto_step(tmp_path, trainer, policy_of(start, reference), KTO(), budget=4096)
    fused, _ = trainer.compute_ref_log_probs(trainer.model, batch)
    with torch.no_grad():
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    plain = selective_log_softmax(logits[:, :-1], batch["input_ids"][:, 1:])
    plain = (plain * batch["completion_mask"][:, 1:]).sum(1)
    np.testing.assert_allclose(table.logp, fused.numpy(), rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(table.logp, plain.numpy(), rtol=1e-6, atol=1e-3)


def test_trl_trains_on_the_tokens_that_the_texts_stand_for(tmp_path: Path):
    # If its tokenisation changed (a second end token, a lost one), the other tests would follow it silently.
    trainer = kto_trainer(tmp_path, tiny_model("llama"), tiny_model("llama"), KTO())
    tokenizer = byte_tokenizer()
    for row, made in zip(ROWS, trainer.train_dataset, strict=True):
        assert made["prompt_ids"] == tokenizer(row["prompt"])["input_ids"]
        assert made["completion_ids"] == tokenizer(f"{row['completion']}{IM_END}")["input_ids"]
