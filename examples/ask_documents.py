"""Ask documents something, in Python and without HTTP, without a key and without a model.

Run it with `uv run examples/ask_documents.py "When does the ferry leave?" timetable.md prices.pdf`. Without arguments
it asks a timetable that it brings along. The built-in model `extractive` answers with sentences of the documents,
quoted and cited; for a real one set `EXAMPLE_MODEL`, and its key as for `headwater serve`.

Documents and conversations stay in the data directory: run it again without files, and it answers from what is there.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import sys
from pathlib import Path

from headwater import Error, Headwater, Metadata, Sources, Status, Text
from headwater.chat import Ask, Backend, Workspace
from headwater.documents.records import Scope
from headwater.errors import DocumentRefused

QUESTION = "When does the ferry leave?"
TIMETABLE = b"""\
# Ferry to Heron Island

The ferry leaves Alder Quay at 07:40 and 16:10 every day except Monday.
The crossing takes 55 minutes. A return ticket costs 18 euros.
"""
# Everything that is kept belongs to a tenant; an application with users names one for each.
TENANT = ""

hw = Headwater(
    data_dir=os.environ.get("EXAMPLE_DATA_DIR", ".headwater-example"),
    providers=True,
    chat=True,
    default_model=os.environ.get("EXAMPLE_MODEL", "extractive"),
)


async def upload(backend: Backend, workspace: Workspace, name: str, content: bytes) -> None:
    """Put a document on the shelf, and follow its reading: a stream like an answer."""
    try:
        document = await backend.shelf.add(
            Scope(TENANT, workspace.id),
            name=name,
            media_type=mimetypes.guess_type(name)[0] or "",
            content=content,
        )
    except DocumentRefused as exc:
        raise SystemExit(f"{name}: {exc.message}") from exc
    uploaded = await backend.ingest.begin(document)
    async for event in hw.follow(uploaded.channel.id, owner=TENANT):
        match event:
            case Status(message=message):
                print(f"{name}: {message}", file=sys.stderr)
            case Error(message=message):
                raise SystemExit(f"{name}: {message}")
            case _:
                pass


async def ask(backend: Backend, workspace: Workspace, question: str) -> None:
    """The answer as it is made; question and answer are kept in a thread."""
    thread = await backend.conversations.threads.create(TENANT, workspace.id)
    facts: dict[str, object] = {}
    async for event in backend.answer(Ask(workspace=workspace, thread=thread, message=question)):
        match event:
            case Sources(items=items):
                print(f"passages of: {', '.join(source.title for source in items)}", file=sys.stderr)
            case Text(text=text):
                print(text, end="", flush=True)
            case Metadata(data=told):
                facts.update(told)
            case Error(message=message):
                raise SystemExit(f"\n{message}")
            case _:
                pass
    print(f"\n\nconfidence: {facts['confidence']}, hallucination: {facts['hallucination']}")


async def main(question: str, files: list[Path]) -> None:
    async with hw:
        backend = await hw.backend()
        workspace = await backend.conversations.workspaces.find_or_create(TENANT, "handbook")
        documents = {file.name: file.read_bytes() for file in files}
        if not documents and not await backend.shelf.list(Scope(TENANT, workspace.id)):
            documents = {"timetable.md": TIMETABLE}
        for name, content in documents.items():
            await upload(backend, workspace, name, content)
        await ask(backend, workspace, question)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else QUESTION, [Path(name) for name in sys.argv[2:]]))
