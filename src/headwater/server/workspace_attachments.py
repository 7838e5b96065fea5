"""Files beside a message of reference 000, as parts of the prompt: images, quoted text, and the rest as files."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence

from ..chat.quoting import fenced, neutral
from ..chat.settings import ChatSettings
from ..dialects.workspace import WorkspaceAttachment, WorkspaceBody, content_of
from ..documents.ingest import IngestSettings
from ..documents.reading import read_document
from ..errors import DocumentRefused, InputError
from ..events import JsonObject
from .workspace_views import file_part

DOCUMENT = "application/anythingllm-document"
"""Media type of attachments that AnythingLLM reads before it asks; the data URL has the real one."""

LABEL = "FILE"
_TEXTUAL = frozenset(
    {
        "application/json", "application/x-ndjson", "application/xml", "application/yaml", "application/x-yaml",
        "application/toml", "application/javascript", "application/x-javascript", "application/sql",
        "application/x-sh", "application/csv",
    }
)  # fmt: skip


class Attachments:
    """`slots`: documents read at once, each in a process of its own."""

    def __init__(self, chat: ChatSettings, ingest: IngestSettings) -> None:
        self._chat = chat
        self._ingest = ingest
        self._slots = asyncio.Semaphore(ingest.document_workers)

    async def parts(self, body: WorkspaceBody) -> list[JsonObject]:
        """Raises `InputError` for what is too much or no base64, `DocumentRefused`, `ReaderFailed`."""
        attachments = body.attachments or []
        self._check(attachments)
        parts: list[JsonObject] = []
        room = self._chat.max_message_characters - len(body.message)
        for at, attachment in enumerate(attachments):
            text = await self._text(attachment, f"attachments[{at}]")
            if text is None:
                parts.append(_as_sent(attachment))
                continue
            room -= len(text)
            if room < 0:
                most = self._chat.max_message_characters
                raise InputError(f"message and files have more than {most} characters", param=f"attachments[{at}]")
            parts.append(file_part(attachment.name, fenced(LABEL, neutral(text))))
        return parts

    def _check(self, attachments: Sequence[WorkspaceAttachment]) -> None:
        """Before anything is decoded."""
        settings = self._chat
        if len(attachments) > settings.max_attachments:
            raise InputError(f"there are more than {settings.max_attachments} attachments", param="attachments")
        for at, attachment in enumerate(attachments):
            if len(attachment.content_string) > settings.max_attachment_bytes * 4 // 3 + 256:
                most = settings.max_attachment_bytes
                raise InputError(f"the attachment is larger than {most} bytes", param=f"attachments[{at}]")

    async def _text(self, attachment: WorkspaceAttachment, param: str) -> str | None:
        """The file's text; None where it goes to the model as it is."""
        mime = attachment.mime.partition(";")[0].strip().lower()
        is_document = mime == DOCUMENT
        if is_document:
            mime = attachment.content_string[5:].partition(",")[0].partition(";")[0].strip().lower()
        if not is_document and not is_textual(mime):
            return None
        content = _decoded(attachment.content_string, param)
        if is_textual(mime):
            return content.decode("utf-8-sig", "replace")
        return await self._read(content, attachment.name, mime, param=param)

    async def _read(self, content: bytes, name: str, media_type: str, *, param: str) -> str:
        try:
            async with self._slots:
                reading = await read_document(
                    content,
                    name=name,
                    media_type=media_type,
                    limits=self._ingest.limits,
                    splitting=self._ingest.splitting,
                    on_progress=lambda progress: None,
                )
        except DocumentRefused as exc:
            raise DocumentRefused(f"{name}: {exc.message}", reason=exc.reason, param=param) from exc
        return reading.text


def is_textual(mime: str) -> bool:
    """Pictures in XML are pictures."""
    if mime.startswith("image/"):
        return False
    return mime.startswith("text/") or mime in _TEXTUAL or mime.endswith(("+json", "+xml", "+yaml"))


def _as_sent(attachment: WorkspaceAttachment) -> JsonObject:
    content = content_of(WorkspaceBody("", [attachment]))
    part = content[-1]
    assert isinstance(part, dict)  # noqa: S101 - with an attachment the content is a list of parts
    return part


def _decoded(url: str, param: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InputError("the attachment is no base64", param=param) from exc
