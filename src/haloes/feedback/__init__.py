"""
Feedback files to records: reading, refusing, labelling, converting, splitting, and a doctor for the data.

A row passes through these files: `containers` (bytes to rows, with `columnar` and `json_array`), `columns` (the user's
names to ours), `formats/` (rows to `Feedback` and `Pair`; `labels`, `messages` and `fields` parse the values),
`refusals` (rows that cannot be used), and `read`, which runs these. Records are then labelled (`score_rules`), taken
apart or paired (`convert`), and divided into training and validation (`split`). `doctor/` says what is wrong with them.
"""
