"""
Numbers with intervals, from arrays and records; nothing here knows of a model, and only `alpaca_eval` reads a file.

A number about answers is a `Score`, whose interval counts prompts and not answers as independent. By what is measured:

- any number, such as words or nats: `means.mean_with_interval`, t with a correction for skewness and rounding;
- true or false, such as "ended by itself": `rates.share_with_interval`, Agresti and Coull's interval;
- a preference in [0, 1]: `bounded_mean.bounded_mean_with_interval`; win rates, positions and benchmarks rest on it;
- a ranking of desirable above undesirable: `auc.auc_with_interval`, a score interval without draws;
- what a regression gives (`length_control`, `ratings`, `calibration`, `reward_pairs`): refitted in each draw.

Before against after is always paired by prompt, and runs that differ in their seed alone are taken together by
`over_seeds`; several comparisons at once are corrected by `paired.holm`. A number
that says nothing (of one prompt, or of one class) is None, and never a number with an interval that means nothing.
"""
