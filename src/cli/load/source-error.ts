/**
 * What can be wrong with a file before any of it runs. The fields are all there is to print; `lines`
 * are whole source lines, the last of which is line `line`.
 */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  /** Absolute path. */
  readonly file: string;
  /** From 1; 0 if the engine did not say where. */
  readonly line: number;
  /** From 1, in UTF-16 units as editors and V8 count; 0 if unknown. */
  readonly column: number;
  readonly lines: readonly string[];

  constructor(place: SourcePlace, message: string) {
    super(message);
    this.file = place.file;
    this.line = place.line;
    this.column = place.column;
    this.lines = place.lines;
  }
}

export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly lines: readonly string[];
}

/** The file to load, or something that it imports, is not there. */
export class MissingFileError extends Error {
  override readonly name = 'MissingFileError';
  /** The absolute path that was looked for, or the name of a package. */
  readonly file: string;
  /** The absolute path of the file with the import, if it was one. */
  readonly importer: string | undefined;

  constructor(file: string, importer?: string) {
    super(
      importer === undefined ? `no such file: ${file}` : `${importer} imports ${file}: not found`,
    );
    this.file = file;
    this.importer = importer;
  }
}

const CONTEXT = 3;

/** A place with the source lines that lead up to it. */
export function placeIn(file: string, source: string, line: number, column: number): SourcePlace {
  const all = source.split(/\r?\n/);
  const at = Math.min(line, all.length);
  return { file, line: at, column, lines: all.slice(Math.max(0, at - CONTEXT), at) };
}
