import type { TableKind } from '../arch/table-kind.ts';
import type { Problem } from '../walk/mappings.ts';
import type { Range } from '../walk/ranges.ts';
import type { JsonForm } from './options.ts';
import type { Output } from './output.ts';
import { WALK_SCHEMA, listedJson, problemJson, rangeJson } from './walk-json.ts';
import type { Listed } from './walk-result.ts';
import { rangeText, totalText } from './walk-text.ts';

/** Makes the text of a list as it is found. */
export interface ListPrinter {
  start(): void;
  range(range: Range): void;
  problem(problem: Problem): void;
  end(listed: Listed): void;
}

const BATCH = 64 * 1024;

/** Gathers lines, and waits for those who read them. */
export class Batch {
  private text = '';
  private readonly output: Output;

  constructor(output: Output) {
    this.output = output;
  }

  add(text: string): void {
    this.text += text;
  }

  /** Time to `flush`. A list of a million lines must not wait a million times. */
  get full(): boolean {
    return this.text.length >= BATCH;
  }

  async flush(): Promise<void> {
    const { text } = this;
    this.text = '';
    await this.output.write(text);
  }
}

export function listPrinter(
  kind: TableKind,
  second: TableKind | null,
  { json }: { readonly json?: JsonForm },
  batch: Batch,
): ListPrinter {
  const head = { schema: WALK_SCHEMA, arch: kind.name, stage2: second?.name ?? null };
  if (json === 'lines') return linesPrinter(head, batch);
  return json === undefined ? textPrinter(batch) : documentPrinter(head, batch);
}

function textPrinter(batch: Batch): ListPrinter {
  return {
    start: () => {},
    range: (range) => batch.add(`${rangeText(range)}\n`),
    problem: () => {},
    end: (listed) => batch.add(totalText(listed)),
  };
}

function linesPrinter(head: object, batch: Batch): ListPrinter {
  const line = (type: string, fields: object): void =>
    batch.add(`${JSON.stringify({ type, ...fields })}\n`);
  return {
    start: () => line('start', head),
    range: (range) => line('range', rangeJson(range)),
    problem: (problem) => line('problem', problemJson(problem)),
    end: (listed) => line('end', listedJson(listed)),
  };
}

/** One document that is never in memory as a whole. A range is a line. */
function documentPrinter(head: object, batch: Batch): ListPrinter {
  const problems: object[] = [];
  let separator = '\n';
  const fields = (object: object): string => JSON.stringify(object, null, 2).slice(2, -2);
  return {
    start: () => batch.add(`{\n${fields(head)},\n  "ranges": [`),
    range: (range) => {
      batch.add(`${separator}    ${JSON.stringify(rangeJson(range))}`);
      separator = ',\n';
    },
    problem: (problem) => {
      if (problems.length < MOST_PROBLEMS) problems.push(problemJson(problem));
    },
    end: (listed) => {
      const last = separator === '\n' ? '' : '\n  ';
      batch.add(`${last}],\n${fields({ ...listedJson(listed), problems })}\n}\n`);
    },
  };
}

const MOST_PROBLEMS = 1000;
