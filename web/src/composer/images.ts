/** Pictures as the models take them: data addresses of bounded size. */

/** The server takes 4 MiB an attachment; base64 adds a third, and the words around it something. */
const MAX_BYTES = 2_900_000;
const MAX_SIDE_PX = 2048;
const AS_IS = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

export const isImage = (file: File): boolean => file.type.startsWith("image/") && file.type !== "image/svg+xml";

/** Throws where it is no picture that this browser can read. */
export async function dataUrlOf(file: File): Promise<string> {
  const picture = await createImageBitmap(file);
  try {
    const scale = Math.min(1, MAX_SIDE_PX / Math.max(picture.width, picture.height));
    if (scale === 1 && file.size <= MAX_BYTES && AS_IS.has(file.type)) return await readDataUrl(file);
    return await drawn(picture, scale);
  } finally {
    picture.close();
  }
}

async function drawn(picture: ImageBitmap, scale: number): Promise<string> {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("canvas");
  pen.fillStyle = "#fff"; // JPEG has no transparency
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  for (const quality of [0.9, 0.75, 0.5]) {
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
    if (blob && blob.size <= MAX_BYTES) return readDataUrl(blob);
  }
  throw new Error("too large");
}

function readDataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error("unreadable"));
    reader.readAsDataURL(blob);
  });
}
