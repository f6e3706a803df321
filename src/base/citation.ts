/**
 * Where a fact stands. A manual is cited by its title and the title of the section, because numbers move
 * between editions; the kernel by its version, file and (where there is one) symbol.
 */
export interface Citation {
  readonly source: string;
  readonly place: string;
}

export function manual(source: string, place: string): Citation {
  return Object.freeze({ source, place });
}

/** `version` as in `v6.12`; several are written `v6.1, v6.12`. */
export function linux(version: string, path: string, symbol?: string): Citation {
  const place = symbol === undefined ? path : `${path}, ${symbol}`;
  return Object.freeze({ source: `linux ${version}`, place });
}

export function citationText({ source, place }: Citation): string {
  return `${source}: ${place}`;
}

/** A statement and where it stands. */
export interface Fact {
  readonly says: string;
  readonly cite: Citation;
}

export function fact(says: string, cite: Citation): Fact {
  return Object.freeze({ says, cite });
}
