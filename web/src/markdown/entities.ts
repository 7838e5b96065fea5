/** `&amp;` and the like, read by the browser's own table. */

const known = new Map<string, string>();

export function decodedEntity(entity: string): string {
  const decoded = known.get(entity) ?? decode(entity);
  known.set(entity, decoded);
  return decoded;
}

function decode(entity: string): string {
  const number = /^&#(?:x([0-9a-f]{1,6})|(\d{1,7}));$/i.exec(entity);
  if (number) {
    const code = number[1] === undefined ? Number(number[2]) : parseInt(number[1], 16);
    return code === 0 || code > 0x10ffff ? "\uFFFD" : String.fromCodePoint(code);
  }
  // Only a name between `&` and `;` comes here, so the element gets no markup. It is never in the document.
  if (!/^&\w{2,31};$/.test(entity)) return entity;
  const area = document.createElement("textarea");
  area.innerHTML = entity;
  return area.value;
}
