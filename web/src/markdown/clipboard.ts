/** Writes to the clipboard; rejects where the browser does not let the page. */
export async function copyText(text: string): Promise<void> {
  // Only secure origins have `navigator.clipboard`: a server at http://<name in the local network> is none.
  if (navigator.clipboard as Clipboard | undefined) return navigator.clipboard.writeText(text);
  const onCopy = (event: ClipboardEvent): void => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  document.addEventListener("copy", onCopy, { capture: true });
  try {
    if (!document.execCommand("copy")) throw new Error("the browser refused to copy");
  } finally {
    document.removeEventListener("copy", onCopy, { capture: true });
  }
}
