/** R1: what mailers and terminals cannot break. One line, printable ASCII, single spaces. */
export function ascii(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[^ -~]/gu, '?');
}
