"""
Live sources: feedback that is fetched from a tool's server, page by page, and then read like an export of that tool.

A source asks; `pages` keeps what it got, so that a fetch which was stopped goes on and a finished one needs no server.
The folder of pages is an export: the tool's importer reads it (`haloes.feedback.importers`).

To add one, write `live/TOOL.py` that ends with a `LiveSource` (see `contract`), and add it to `table.SOURCES`:

    def _fetch(fetching: Fetching) -> None:
        queries = [{"path": "/api/feedback", "from": fetching.since.isoformat()}]
        fetching.all_pages("feedback", queries, _ask, noun="votes")

    def _ask(server: Server, query: Query, cursor: str | None) -> Page:
        return server.get(query["path"], {"from": query["from"], "cursor": cursor}, _page)  # `_page` reads the reply

    TOOL = LiveSource(name="tool", product="Tool", importer="tool", keys="TOOL_KEY", endpoint=_endpoint, fetch=_fetch)
"""
