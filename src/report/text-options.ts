import type { DiagramOptions } from './diagram.ts';
import { fold } from './wrap.ts';

/** Colours verdict words, the failing row and nothing else; the text is the same without. */
export interface Painter {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
}

export const PLAIN: Painter = { good: (text) => text, bad: (text) => text, warn: (text) => text };

export interface TextOptions extends DiagramOptions {
  readonly painter: Painter;
  /** Show the diagrams of failures that were expected, too (somebody asked for that variant). */
  readonly showExpected: boolean;
  /** Print everything that each variant assumes, and not only what they have in common. */
  readonly assumptions: boolean;
  /** How messages call a file. */
  readonly shorten: (file: string) => string;
}

/** Sentences, folded. Two of them have two spaces between them, which must not end a line. */
export function prose(text: string, { width }: TextOptions): string {
  return fold(text, width).replace(/ +$/gm, '');
}
