import type { TableKind } from '../arch/table-kind.ts';
import type { Problem } from '../walk/mappings.ts';
import type { Range } from '../walk/ranges.ts';
import type { JsonForm } from './options.ts';
import type { Output } from './output.ts';
import { WALK_SCHEMA, listedJson, problemJson, rangeJson } from './walk-json.ts';
import type { Listed } from './walk-result.ts';
import { rangeText, totalText } from './walk-text.ts';

/** Prints a list as it is found. */
export interface ListPrinter {
  start(): Promise<void>;
  range(range: Range): Promise<void>;
  problem(problem: Problem): Promise<void>;
  end(listed: Listed): Promise<void>;
}

const BATCH = 64 * 1024;

/** Gathers lines, and waits for those who read them. */
class Batch {
  private text = '';
  private readonly output: Output;

  constructor(output: Output) {
    this.output = output;
  }

  async add(text: string): Promise<void> {
    this.text += text;
    if (this.text.length >= BATCH) await this.flush();
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
  output: Output,
): ListPrinter {
  const batch = new Batch(output);
  const head = { schema: WALK_SCHEMA, arch: kind.name, stage2: second?.name ?? null };
  if (json === 'lines') return linesPrinter(head, batch);
  return json === undefined ? textPrinter(batch) : documentPrinter(head, batch);
}

function textPrinter(batch: Batch): ListPrinter {
  return {
    start: () => Promise.resolve(),
    range: (range) => batch.add(`${rangeText(range)}\n`),
    problem: () => Promise.resolve(),
    end: async (listed) => {
      await batch.add(totalText(listed));
      await batch.flush();
    },
  };
}

function linesPrinter(head: object, batch: Batch): ListPrinter {
  const line = (type: string, fields: object): Promise<void> =>
    batch.add(`${JSON.stringify({ type, ...fields })}\n`);
  return {
    start: () => line('start', head),
    range: (range) => line('range', rangeJson(range)),
    problem: (problem) => line('problem', problemJson(problem)),
    end: async (listed) => {
      await line('end', listedJson(listed));
      await batch.flush();
    },
  };
}

/** One document that is never in memory as a whole. A range is a line. */
function documentPrinter(head: object, batch: Batch): ListPrinter {
  const problems: object[] = [];
  let separator = '\n';
  const fields = (object: object): string => JSON.stringify(object, null, 2).slice(2, -2);
  return {
    start: () => batch.add(`{\n${fields(head)},\n  "ranges": [`),
    range: async (range) => {
      await batch.add(`${separator}    ${JSON.stringify(rangeJson(range))}`);
      separator = ',\n';
    },
    problem: (problem) => {
      if (problems.length < MOST_PROBLEMS) problems.push(problemJson(problem));
      return Promise.resolve();
    },
    end: async (listed) => {
      const last = separator === '\n' ? '' : '\n  ';
      await batch.add(`${last}],\n${fields({ ...listedJson(listed), problems })}\n}\n`);
      await batch.flush();
    },
  };
}

const MOST_PROBLEMS = 1000;
