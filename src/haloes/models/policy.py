"""The model that is trained, and the one that it was before: two ways to score the same completions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from haloes.errors import ConfigError, MissingInputError, ModelError
from haloes.models.adapters import LoRA, add_lora
from haloes.models.architecture import body_of, text_model_of
from haloes.models.classifier import check_classifier
from haloes.models.divergence import log_collision, reference_kl, token_kl
from haloes.models.fingerprint import adapter_fingerprint, weights_fingerprint
from haloes.models.forward import Scorer, head_of
from haloes.models.layout import Packed, make_packed
from haloes.models.lm_head import Head, target_logps
from haloes.models.locate import Location
from haloes.models.own_logits import FAILURES, brief, text_ids
from haloes.models.packing_check import make_scorer, untried_scorer
from haloes.models.prefix_cache import PrefixCache
from haloes.models.references import Reference, SyncedReference, adapter_off, copied, frozen, kept
from haloes.models.scalar_heads import RewardHead, ValueHead
from haloes.models.trained_adapter import put_back
from haloes.models.unread_weights import files_of


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Scores of N trained tokens, as far as they were asked for, (N,) each in float32."""

    logp: Tensor | None
    """log p_policy, with gradient."""
    collision: Tensor | None = None
    """log sum_v p_policy(v)^2, without."""
    reference_kl: Tensor | None = None
    """KL(reference || policy), with gradient."""
    value: Tensor | None = None
    """The value head's estimate, with gradient for the value head alone."""
    reward: Tensor | None = None
    """The reward head's number for each sequence, (B,), with gradient."""

    @property
    def all(self) -> list[Tensor]:
        """Return what is there."""
        parts = (self.logp, self.collision, self.reference_kl, self.value, self.reward)
        return [part for part in parts if part is not None]


@dataclass(frozen=True, slots=True)
class Policy:
    """A causal language model that is trained."""

    model: Any
    """The transformers model; with LoRA, the peft model around it."""
    scorer: Scorer
    reference: Reference | None
    """None where the loss needs no reference."""
    reference_fingerprint: str
    """Hash of the reference's weights and of the dtype they compute in: those before training, if it is not apart."""
    unpacked_because: str | None
    """Why sequences are padded and not packed; None when they are packed."""
    value_head: ValueHead | None = None
    """Trained with the policy where the loss needs it."""
    start_fingerprint: str | None = None
    """Hash of the weights before training where the reference is another model; None where they are the reference."""
    reward_head: RewardHead | None = None
    """Trained with the policy where the loss needs it; the two together are a reward model."""
    base_fingerprint: str | None = None
    """Hash of the weights beside which a trained adapter goes on; None where training began with this very model."""
    shell: Any | None = None
    """The model without its weights, as which it is saved where they are shards (`haloes.models.sharded`)."""

    @property
    def device(self) -> torch.device:
        """Return where the model computes."""
        device: torch.device = self.model.device
        return device

    def token_logps(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """Return log p_policy of each trained token, (N,) in float32; the cache is that of `Scorer.states`."""
        return self.scorer.token_logps(packed, prefix_cache)

    def token_scores(
        self,
        packed: Packed,
        *,
        logps: bool = True,
        collision: bool = False,
        kl: bool = False,
        prefix_cache: PrefixCache | None = None,
    ) -> TokenScores:
        """
        Return log p_policy of each trained token, and what else is asked for, differentiable unless gradients are off.

        Args:
            packed: the sequences; with a reward head, laid out with their last tokens.
            logps: whether log p_policy is wanted.
            collision: how peaked the policy's distributions are.
            kl: how far they are from the reference's, which is computed here. Raises MissingInputError without one.
            prefix_cache: takes the keys and values, for other completions of the same prompts.
        """
        # The reference goes first, while the policy's pass has left nothing in memory yet.
        reference = self._reference_hidden(packed) if kl else None

        # One pass through the model for everything: what is asked for differs in what it reads from the hidden states.
        def read() -> tuple[Tensor | None, ...]:
            hidden_TH, head = self.scorer.states(packed, prefix_cache), head_of(self.scorer.model)
            hidden_NH = hidden_TH[packed.predictor_N]
            return (
                target_logps(hidden_NH, head, packed.target_N) if logps else None,
                log_collision(hidden_NH, head) if collision else None,
                None if reference is None else reference_kl(hidden_NH, head, *reference),
                None if self.value_head is None else self.value_head(hidden_NH),
                None if self.reward_head is None else self._rewards(hidden_TH, packed),
            )

        logp, peak, kl_N, value, reward = self.scorer.with_weights(read)
        return TokenScores(logp=logp, collision=peak, reference_kl=kl_N, value=value, reward=reward)

    def rewards(self, packed: Packed) -> Tensor:
        """Return the reward of each sequence, (B,) in float32. Raises MissingInputError without a reward head."""
        return self.scorer.with_weights(lambda: self._rewards(self.scorer.states(packed), packed))

    def _rewards(self, hidden_TH: Tensor, packed: Packed) -> Tensor:
        if self.reward_head is None or packed.last_B is None:
            raise MissingInputError("rewards need a reward head, and sequences laid out with their last tokens")
        found: Tensor = self.reward_head(hidden_TH[packed.last_B])
        return found

    def reference_logps(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """Return log p_reference of each trained token, as `token_logps`. Raises MissingInputError without one."""
        with self._as_reference() as scorer:
            return scorer.token_logps(packed, prefix_cache)

    def token_kl(self, packed: Packed) -> Tensor:
        """Return KL(policy || reference) of the next-token distribution at each trained token, (N,), in nats."""
        hidden_NH, head = self._reference_hidden(packed)

        def compared() -> Tensor:
            return token_kl(self.scorer.hidden(packed), head_of(self.scorer.model), hidden_NH, head)

        with self.scoring():
            return self.scorer.with_weights(compared)

    def _reference_hidden(self, packed: Packed) -> tuple[Tensor, Head]:
        """Return the reference's hidden states at the trained tokens, (N, H), and its head, both without gradient."""
        with self._as_reference() as scorer:
            return scorer.with_weights(lambda: (scorer.hidden(packed), kept(head_of(scorer.model), scorer)))

    @contextmanager
    def _as_reference(self) -> Iterator[Scorer]:
        """Give the scorer of the reference inside the block, without dropout and gradients."""
        if self.reference is None:
            raise MissingInputError("this policy was made without a reference")
        with self.scoring(), self.reference() as scorer:
            yield scorer

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that are trained, by name, in a fixed order."""
        heads = {"value_head": self.value_head, "reward_head": self.reward_head}
        own = {
            name: parameter
            for prefix, head in heads.items()
            if head is not None
            for name, parameter in head.named_parameters(prefix=prefix)
        }
        return _trainable(self.model) | own

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Switch dropout and gradients off inside the block."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)


def make_policy(
    model: Any,
    *,
    lora: LoRA | None,
    reference: bool,
    seed: int,
    synced: bool = False,
    values: bool = False,
    rewards: bool = False,
    reference_model: Any | None = None,
    fingerprint: str | None = None,
    adapter: Location | None = None,
    hashed: Callable[[Any], str] = weights_fingerprint,
) -> Policy:
    """
    Make a loaded model trainable, and keep what it is now as the reference.

    The reference is never loaded again by name, which may lead elsewhere by then: with LoRA it is the model with the
    adapter off, which costs no memory, or with the adapter as it was, which costs a copy of that; with full tuning it
    is a copy, on a CPU in a file that is mapped while the reference computes. Only where a model is given for it, it is
    that one.

    Args:
        model: a transformers causal language model; it is changed in place.
        lora: adapters, or None to train all weights.
        reference: whether the loss needs one.
        seed: decides the initial weights of the adapter and of the value head.
        synced: the reference can become the policy again (`SyncedReference.sync`).
        values: add a value head.
        rewards: add a reward head. Raises ModelError where transformers knows no sequence classifier of this
            architecture, so that no tool could load the result.
        reference_model: another loaded model, with the same tokenizer, as the reference; it is frozen in place.
            It cannot be `synced`.
        fingerprint: the model's `weights_fingerprint` where the caller knows it; None to read all weights for it.
        adapter: a trained adapter of this model, which is trained further in place of a new one. Raises ModelError
            where it is of another model.
        hashed: how a model's weights are hashed: as those that the fingerprint is compared with were, or by several
            processes together.
    """
    if reference_model is not None and synced:
        raise ConfigError("model.reference stays what it is, and the loss moves its reference: leave it out")
    # Before anything is changed: what is hashed are the weights from which the run starts.
    fingerprint = hashed(model) if fingerprint is None else fingerprint
    # Before adapters too: the scorer calls the bare model, in which peft puts its layers in place.
    scorer, unpacked_because = _scorer(model)
    if rewards:
        check_classifier(scorer)
    before: Reference | None
    base = None
    if adapter is not None:
        trained, base = put_back(adapter, model), fingerprint
        fingerprint = adapter_fingerprint(base, _trainable(trained))
    elif lora is not None:
        trained = add_lora(model, lora, seed=seed)
        before = adapter_off(trained, scorer)
    else:
        trained = model
        wanted = reference and not synced and reference_model is None
        before = copied(model, scorer) if wanted else None
        _make_all_trainable(model)
    if synced or adapter is not None:
        before = SyncedReference(_trainable(trained), scorer)
    head = ValueHead(head_of(model).weight_VH.shape[1], seed=seed).to(model.device) if values else None
    scores = RewardHead(head_of(model).weight_VH.shape[1]).to(model.device) if rewards else None
    policy = Policy(
        trained, scorer, before, fingerprint, unpacked_because, head, reward_head=scores, base_fingerprint=base
    )
    check_gradient(policy)
    return policy if reference_model is None else _with_reference(policy, reference_model, hashed)


def check_gradient(policy: Policy) -> None:
    """
    Make sure that a forward and a backward pass go through the model as it will be trained, with a short sequence.

    Raises:
        ModelError: they do not, as where an adapter does not fit a layer that computes in its own way.
    """
    words = text_ids(policy.scorer.model).numpy()
    ids = words[np.random.default_rng(0).integers(0, len(words), 9)]
    packed = make_packed([(ids[:3], ids[3:], ids[3:] >= 0)], policy.device, last=policy.reward_head is not None)
    # The gradient of the first weight passes through all layers, and takes no more memory than that weight.
    first = next(iter(policy.trainable().values()))
    try:
        total = policy.token_logps(packed).sum()
        torch.autograd.grad(total, first, allow_unused=True)
    except FAILURES as error:
        raise ModelError(
            f"{type(policy.scorer.model).__name__} cannot be trained: it has no gradient ({brief(error)}); "
            "name other layers in model.lora.targets, or take another model"
        ) from error


def _make_all_trainable(model: Any) -> None:
    """Make all of a model's text part trainable, in place."""
    for module in model.modules():
        # Where the end-of-turn token doubles as padding, its embedding would get no gradient. Nothing is padded.
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    # A tower for images or sounds gets no gradient from text, and stays what it is.
    model.requires_grad_(False)  # noqa: FBT003 - torch's own signature
    parts = [text_model_of(model), model.get_output_embeddings()]
    for part in parts if text_model_of(model) is not body_of(model) else [model]:
        part.requires_grad_(True)  # noqa: FBT003


def _trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the parameters of a model that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _scorer(model: Any) -> tuple[Scorer, str | None]:
    """Return how a model is scored, and why not packed; what has no weights yet is tried once it has (`sharded`)."""
    return make_scorer(model) if files_of(model) is None else (untried_scorer(model), None)


def _with_reference(policy: Policy, model: Any, hashed: Callable[[Any], str]) -> Policy:
    """Return the policy with another model as its reference, which is frozen in place."""
    fingerprint = hashed(model)
    scorer, _ = _scorer(model)
    return replace(
        policy,
        reference=frozen(model, scorer),
        reference_fingerprint=fingerprint,
        start_fingerprint=policy.reference_fingerprint,
    )
