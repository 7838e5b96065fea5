/** Which addresses of an answer may be followed or loaded. Answers are untrusted: models repeat what they were fed. */

const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);
const DATA_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+$/;

/**
 * The address as the browser would read it, if it is one of the web or of mail. Relative ones are none: they would
 * lead to this server, which the writer of the answer does not know.
 */
export function safeLink(address: string): string | undefined {
  let url: URL;
  try {
    // Browsers read backslashes as slashes, which hides the host from who reads the text.
    url = new URL(address.trim().replace(/\\/g, "%5C"));
  } catch {
    return undefined;
  }
  return PROTOCOLS.has(url.protocol) ? url.href : undefined;
}

/** Images that carry their own data: others would tell their server who reads the answer (and may carry its text). */
export const safeImage = (address: string): string | undefined => (DATA_IMAGE.test(address) ? address : undefined);
