"""The words that haloes uses, each with one plain sentence: for `haloes words`, the terminal's legend and the pages."""

import difflib
import re

from haloes.errors import ConfigError

WORDS = {
    "alarm": "a warning while training, with its step: a number has passed a limit of the settings `watch`",
    "AUC": "how often a good answer has a higher score than a bad one: 0.5 is a coin, 1 is always, and below 0.5 the "
    "bad one has it more often",
    "beta": "how firmly a loss holds the model near the reference: larger keeps it nearer",
    "Brier score": "the mean squared distance between what was predicted and what came (0 or 1): lower is better",
    "calibration slope": "whether the model is as sure as it is right: 1 is just so, below 1 is too sure",
    "chance": "what guessing reaches; a number is only above it if its whole interval is",
    "chosen": "the answer of a pair that people preferred",
    "clamp": "the limit that a number is held to: a reference point below zero counts as zero",
    "completion": "an answer of the model, or an answer that was rated",
    "desirable": "an answer that people liked: a thumb up, the preferred answer of a pair, or a score above the "
    "threshold",
    "distinct-2": "how many of all pairs of neighbouring words are different ones: low means that answers repeat "
    "phrases",
    "divergence": "how far two models are apart in what they would answer; here the KL divergence",
    "epoch": "one pass over all the feedback to train on",
    "gradient norm": "how strongly the feedback of a step pulls at the weights; it is cut at train.max_grad_norm",
    "held-out": "feedback that was put aside, by prompt, and never trained on, so that it shows what carries over",
    "Holm": "a correction of p for several comparisons at once: among many, one looks striking by luck",
    "human value": "what an answer is worth to people according to a loss: how gains and losses against the reference "
    "point feel",
    "human-aware loss": "a loss with a reward, a reference point and a value function, as in prospect theory (HALO)",
    "implied reward": "how much likelier training has made an answer: log p of the model minus log p of the "
    "reference, in nats",
    "interval": "the values that fit what was measured: at 95%, of 20 such intervals about 19 hold the true value",
    "KL": "the KL divergence: how far the model has moved from the reference, measured along its own answers; 0 is "
    "not at all",
    "lambda_D n_D": "the weight of the good answers times their number, which should be 1 to 3/2 of that of the bad "
    "ones",
    "learning rate": "how far a step moves the weights (train.lr): too low and nothing changes, too high and the "
    "model breaks",
    "length-controlled": "the win rate or AUC that would be if answers were equally long: judges like long ones, and a "
    "reward that is summed over tokens drifts with length",
    "log-odds": "log(p / (1 - p)): 0 is even, 2.2 is nine to one",
    "log-probability": "the logarithm of how likely the model finds an answer: nearer to 0 is likelier",
    "log-ratio": "log p of the model minus log p of the reference: what an answer has gained in training",
    "loss": "what training makes smaller, as a mean over the answers of a step; different losses have different scales",
    "margin": "the mean implied reward of good answers minus that of bad ones, in nats: it grows as the model tells "
    "them apart",
    "mismatched": "an answer put under a prompt that it does not belong to, which shows how the model moves in general",
    "nats": "the unit of log-probabilities: one nat more is 2.7 times as likely",
    "NLL": "the negative log-likelihood, -log p in nats: SFT's loss is its sum over an answer, and other tools "
    "show it by token",
    "no spread": "no interval: all prompts gave the same value, so that the prompts drawn make no difference",
    "p": "how often pure chance would give a difference at least this large: small speaks against chance",
    "perplexity": "e to the loss per token: among how many equally likely tokens the model seems to choose",
    "points": "percentage points: from 40% to 50% is 10 points",
    "policy": "the model that is trained",
    "position bias": "how often a judge prefers whichever answer comes first: a fair one does half of the time",
    "reference": "the model that training is compared with and held to: if nothing else is said, the model before it",
    "reference point": "the implied reward from which an answer counts as a gain: the mean over mismatched answers, "
    "but at least 0",
    "rejected": "the answer of a pair that people did not prefer",
    "repeats itself": "a stretch of words stands in the answer three times running, or more than half of its four-word "
    "runs came before",
    "repetition": "the share of four-word runs in an answer that came before in it",
    "rounding": "how far the short numbers of bfloat16 alone move a reward, margin or z0: nearer to 0 they say "
    "nothing; a run measures it before its first step",
    "sign test": "counts prompts won and lost, and asks how often a fair coin would be as one-sided",
    "split": "rows with a prompt or conversation in common stay together: all are trained on, or all held out",
    "step": "one change of the weights, from train.batch_size examples",
    "temperature": "how freely answers are drawn: 0 takes the likeliest token each time, 1 draws as the model weighs "
    "them",
    "token": "a piece of a word: the unit in which a model reads and writes",
    "undesirable": "an answer that people did not like: a thumb down, the other answer of a pair, or a score below "
    "the threshold",
    "win rate": "how often a judge prefers the new answer over the old one, ties counting half: 50% is even",
    "z0": "the reference point: the mean implied reward of mismatched answers, in nats and at least 0: it rises as "
    "the model moves",
}
"""The word -> its sentence, without capital and full stop, so that it can follow a colon."""

_WRITTEN = {
    "calibration slope": "calibration slope|Calibration slope",
    "desirable": "desirable",
    "distinct-2": "distinct-2",
    "epoch": "epochs?|Epochs?",
    "gradient norm": "[Gg]radient norm|L2 norm",
    "held-out": "[Hh]eld[- ]out",
    "human-aware loss": "[Hh]uman-aware|HALOs?",
    "implied reward": "[Ii]mplied rewards?",
    "lambda_D n_D": "lambda_D",
    "learning rate": "[Ll]earning rate",
    "length-controlled": "[Ll]ength-controlled|at equal length|At equal length",
    "log-odds": "[Ll]og[- ]odds",
    "log-probability": "[Ll]og-probabilit(?:y|ies)",
    "log-ratio": "[Ll]og[- ]ratios?",
    "margin": "[Mm]argins?",
    "nats": "nats?",
    "p": r"p(?= = | \(Holm\))",
    "points": "points(?! to)",
    "position bias": "[Pp]osition bias",
    "reference point": "[Rr]eference point",
    "repeats itself": "repeats? (?:itself|themselves)",
    "repetition": "[Rr]epetition|four-word runs",
    "rounding": "[Rr]ounding(?: (?:floor|noise))?",
    "split": "split can separate",
    "win rate": "[Ww]in rates?",
}
"""How a word is written where it is not just that, as a regular expression."""

_COMMON = frozenset({"step", "token", "completion", "policy", "points", "interval", "reference", "epoch", "loss"})
"""Words that a reader knows, or that a sentence about another word explains: a legend does without them."""


def explain(word: str) -> dict[str, str]:
    """
    Return the words that are meant by one that a user typed, with their sentences.

    Raises:
        ConfigError: there is none like it; the message says what it may have been meant as.
    """
    asked = " ".join(word.split()).casefold()
    by_folded = {name.casefold(): name for name in WORDS}
    if asked in by_folded:
        return {by_folded[asked]: WORDS[by_folded[asked]]}
    if written := {name: WORDS[name] for name in WORDS if re.fullmatch(_pattern(name), word.strip(), re.IGNORECASE)}:
        return written
    # A part of a name, such as "reward", stands for all that have it.
    if parts := {name: WORDS[name] for name in WORDS if asked and asked in re.split(r"[\s-]", name.casefold())}:
        return parts
    near = difflib.get_close_matches(asked, by_folded, n=1)
    hint = f' Did you mean "{by_folded[near[0]]}"?' if near else ""
    raise ConfigError(f'"{word}" is not among the words explained here.{hint} `haloes words` lists them all')


def words_in(text: str) -> dict[str, str]:
    """Return the words of a text that a newcomer may not know, with their sentences, in the order of the list."""
    return {name: WORDS[name] for name in WORDS if name not in _COMMON and re.search(_bounded(name), text)}


def _bounded(name: str) -> str:
    # A setting such as watch.kl or reward/margin is a name, not the word.
    return rf"(?<![\w./-])(?:{_pattern(name)})(?![\w./-]*\w)"


def _pattern(name: str) -> str:
    return _WRITTEN.get(name, re.escape(name))
