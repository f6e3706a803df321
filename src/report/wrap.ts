/**
 * R12: a row that is too long breaks after a comma or at a space and goes on four columns deeper. Words are
 * never split; null if one does not fit.
 */
export function wrap(text: string, indent: number, width: number): string[] | null {
  const lines: string[] = [];
  let line = ' '.repeat(indent);
  let empty = true;
  const deeper = indent + 4;
  for (const word of text.split(' ')) {
    const next = empty ? line + word : `${line} ${word}`;
    if (next.length <= width) {
      line = next;
      empty = false;
      continue;
    }
    if (empty || deeper + word.length > width) return null;
    lines.push(line);
    line = ' '.repeat(deeper) + word;
  }
  lines.push(line);
  return lines;
}

/** A statement with its comment (R7): behind it if that fits, else on the next line, two deeper. */
export function withComment(
  text: string,
  comment: string | null,
  indent: number,
  width: number,
): string[] | null {
  const whole = comment === null ? text : `${text}  // ${comment}`;
  if (indent + whole.length <= width) return [' '.repeat(indent) + whole];
  const lines = wrap(text, indent, width);
  if (lines === null || comment === null) return lines;
  const last = `${lines.at(-1) as string}  // ${comment}`;
  if (lines.length > 1 && last.length <= width) return [...lines.slice(0, -1), last];
  const below = wrapComment(comment, indent + 2, width);
  return below && [...lines, ...below];
}

/** Sentences outside the diagram, folded at the width; a line of its own keeps its indentation. */
export function fold(text: string, width: number): string {
  return text
    .split('\n')
    .map((line) => foldLine(line, width))
    .join('\n');
}

function foldLine(text: string, width: number): string {
  if (text.length <= width) return text;
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join('\n');
}

function wrapComment(comment: string, indent: number, width: number): string[] | null {
  const lines = wrap(comment, 0, width - indent - 3);
  return lines && lines.map((line) => `${' '.repeat(indent)}// ${line.trim()}`);
}
