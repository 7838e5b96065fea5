/** Offers an answer of the server as a file, under the name that the server gave it. */

export async function saveFile(response: Response, otherwise: string): Promise<void> {
  const named = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1];
  const address = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = named ?? otherwise;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
