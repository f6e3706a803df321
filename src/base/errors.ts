/**
 * Everything that gracewalk tells a person about bad input has this shape: what went wrong, where, why
 * (notes), and what to do about it (help). The command line prints it; nothing else formats errors.
 *
 * `code` is one of the stable ids of the documentation (E101, E302, ...). `site` is a raw stack position
 * that the command line resolves to a source line.
 */
export class GracewalkError extends Error {
  readonly code: string;
  readonly details: ErrorDetails;

  constructor(code: string, what: string, details: ErrorDetails = {}) {
    super(what);
    this.name = 'GracewalkError';
    this.code = code;
    this.details = details;
  }
}

export interface ErrorDetails {
  /** Where: a position in a source file. */
  readonly site?: Site | undefined;
  /** Where, in a text that is no source file: a diagram that was piped in. */
  readonly quoted?: Quoted | undefined;
  /** Words under the marked source text ("an operation does nothing until it is yielded"). */
  readonly label?: string | undefined;
  readonly notes?: readonly string[] | undefined;
  readonly help?: string | undefined;
  /** The verdict this error stands for, when it is one ("vacuous (exit 4), not safe"). */
  readonly verdict?: string | undefined;
  /** Which variant it happened in. */
  readonly variant?: string | undefined;
}

/** A line of a text, with what is wrong in it marked. `at` is from 1. */
export interface Quoted {
  readonly where: string;
  readonly line: string;
  readonly at: number;
  readonly length: number;
}

/** A position in a source file as the JavaScript engine reports it: 1-based line and column. */
export interface Site {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The function that the position is in, where the engine says it. */
  readonly function?: string | undefined;
}

/** A fault of gracewalk itself, never of its input: exit code 5. */
export class EngineFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'EngineFault';
  }
}
