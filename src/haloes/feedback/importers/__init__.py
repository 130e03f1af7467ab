'''
Importers: what production tools export (thumbs, scores, corrections, comparisons), read like any other feedback.

An export becomes records in three steps. `export` opens a file or a folder as rows, whatever the container. The
importer of the tool (one file here each, listed in `table`) turns rows into `Rated`, `Compared` and `LeftOut`. `rules`
makes `Feedback`, `Pair` and `Refusal` of these, by rules that are the same for every tool: whose verdicts count, which
vote of a person is the last, what a time looks like, which prompt and answer can be trained on.

How to add an importer
----------------------
1. Write `importers/TOOL.py` that ends with an `Importer` (see `contract`), and add it to `table.IMPORTERS`:

       def _recognise(export: Export) -> str | None:
           """Return the layout where this is an export of the tool."""
           return "Tool feedback export (v2 layout)" if export.with_columns("chatId", "isUpvoted") else None

       def _read(export: Export) -> Iterator[Imported]:
           return each_row(export.rows(), _votes)

       def _votes(row: RawRow, where: Where) -> Iterator[Imported]:
           turns = as_list(row.get("messages"))
           yield Rated(
               where=where,
               label=thumb(row.get("isUpvoted"), up=(True, 1), down=(False, 0)),  # what is neither is refused
               messages=read_messages(turns[:-1]),
               completion=read_messages(turns[-1:]),
               answer=as_id(row.get("messageId")),  # the same person's later vote on it wins
               user=as_id(row.get("userId")),
               conversation=as_id(row.get("chatId")),
               time=row.get("createdAt"),  # as it stands: seconds, milliseconds, ISO ...
           )

       TOOL = Importer(
           name="tool", product="Tool", files="...", how="...", votes="...", recognise=_recognise, read=_read
       )

2. Yield something for every vote: `Rated`, `Compared`, or `LeftOut` with a reason of `refusals.Reason` (or raise
   `RefusalError` inside `each_row`, which is the same). Nothing is dropped without being counted.
3. Read values through `values` (`at`, `as_list`, `as_id`, `thumb` ...): whatever stands in an export, a list where a
   mapping should be, NaN, nesting, must end in a `LeftOut`, never in a traceback, and never in a swapped label.
4. Where votes and answers lie in different files or rows, join them with `join.Lookup`: it keeps the rows in a
   temporary file, and only those that are wanted. Never collect rows in a list or a dict.
5. Where the export also holds the answers that people saw and nobody rated, yield these as `Unrated` from a second
   function (`Importer.unrated`), through `each_shown`.
6. Test it with files in `tests/feedback/importers/TOOL/`: `NAME.json` (or a folder) as the tool writes it, made by
   hand, beside `NAME.expected.jsonl`, written by hand too: first {"layout": ...} or {"error": ...}, then a line a
   record: its canonical row, or {"left_out": REASON}. The tests in `test_every_importer.py` read and mutate them.
'''
